"""`tilewright export`: results in a form for others: a tuning pack, a table for dispatch, Triton configs, a CSV."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..kernels.problem import Problem
from .options import NumbersMayBeNegative, db_option, output_file, problem_options

if TYPE_CHECKING:
    from ..tuner.store import Store
    from ..tuner.store.pack import Pack

# How many ranked configs of a problem stand in a table or a list when it is not said.
RANKED = 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for."""

    problems: tuple[Problem, ...]
    device: str | None
    top: int | None
    rename: dict[str, str]
    families: tuple[str, ...]
    deterministic: bool


def renaming(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Axis -> its name in another kernel, of words as `block_m=BLOCK_SIZE_M`."""
    names = {}
    for word in values:
        axis, _, name = word.partition("=")
        if not (axis and name.isidentifier()):
            raise click.BadParameter(f"{word!r} renames nothing: write an axis, then = and its name, as block_m=BM")
        names[axis] = name
    return names


@click.command(cls=NumbersMayBeNegative)
@problem_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["pack", "table", "triton", "csv"]),
    default="pack",
    show_default=True,
    help="A tuning pack for other stores, a table for dispatch, a Python module of triton.Config lists, or a CSV.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=output_file,
    help="A file.  [default: print it; a table goes where dispatch finds it]",
)
@click.option("--device", help="Only results on the device of this name.")
@click.option("--top", type=click.IntRange(1), help="Only so many of the fastest configs a problem.")
@click.option("--rename", multiple=True, callback=renaming, help="For triton: as block_m=BLOCK_SIZE_M.")
@click.option("--family", "families", multiple=True, help="For table: one of your own, as package.module:NAME.")
@click.option("--deterministic", is_flag=True, help="For table and triton: only what gives the same bits in every run.")
@db_option
def export(
    *,
    problems: tuple[Problem, ...],
    form: str,
    output: Path | None,
    device: str | None,
    top: int | None,
    rename: dict[str, str],
    families: tuple[str, ...],
    deterministic: bool,
    db: str,
) -> None:
    """Write results for others: all problems, or those that are named.

    A pack and a CSV hold every trial, a table and a Triton module the three fastest configs of a problem, unless --top
    says otherwise. A file is replaced as a whole. A table without --output goes to your data folder, where
    `tilewright.matmul` finds it.

    \b
    Examples:
      tilewright export --output results.pack.json
      tilewright export --format table
      tilewright export --format triton --model llama-3.1-8b --top 1
    """
    from ..tuner.files import write_atomically
    from ..tuner.store import open_store
    from ..tuner.store.query import check_device

    if deterministic and form in ("pack", "csv"):
        raise click.UsageError(
            f"--deterministic is for a table and a Triton module: a {form} holds all that was measured"
        )
    with open_store(db, readonly=True) as store:
        check_device(store, device)
        text = FORMS[form](store, Wanted(problems, device, top, rename, families, deterministic))
    if output is None and form != "table":
        click.echo(text, nl=False)
        return
    path = output or _users_table(text)
    write_atomically(path, text)
    if output is None:
        click.echo(f"{path} is written: `import tilewright` on this device finds it")


def _users_table(text: str) -> Path:
    from ..kernels.device import Device
    from ..kernels.dispatch.find import user_table

    path = user_table(Device(**json.loads(text)["device"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _pack(store: Store, wanted: Wanted) -> str:
    from ..tuner.store.pack import write_pack

    return write_pack(_held(store, wanted))


def _held(store: Store, wanted: Wanted) -> Pack:
    """
    Raises:
        click.ClickException: problems are named of which the store holds nothing.
    """
    from ..tuner.store.pack import pack_of

    found = pack_of(store, wanted.problems, wanted.device, top=wanted.top)
    held = {trial.problem for trial in found.trials} | {race.problem for race in found.races}
    if wanted.problems and not held:
        raise click.ClickException(f"{store.name} holds nothing of {', '.join(map(str, wanted.problems))}: tune first")
    _tell_missing(store, wanted, held)
    return found


def _tell_missing(store: Store, wanted: Wanted, held: Collection[Problem]) -> None:
    if missing := [problem.key for problem in wanted.problems if problem not in held]:
        click.echo(f"{store.name} holds nothing of {', '.join(missing)}", err=True)


def _csv(store: Store, wanted: Wanted) -> str:
    from ..tuner.store.flat import csv_text

    return csv_text(_held(store, wanted).trials)


def _table(store: Store, wanted: Wanted) -> str:
    from ..kernels.families import FAMILIES, family
    from ..tuner.export import table_of, write_table

    known = {**FAMILIES, **{name: family(name) for name in wanted.families}}
    top, deterministic = wanted.top or RANKED, wanted.deterministic
    found = table_of(store, wanted.device, wanted.problems, top=top, families=known, deterministic=deterministic)
    _tell_missing(store, wanted, found.winners)
    return write_table(found)


def _triton(store: Store, wanted: Wanted) -> str:
    from ..tuner.store.query import best_of_all, only_device
    from ..tuner.store.triton_module import triton_module

    device = wanted.device or only_device(store)
    runners_up = (wanted.top or RANKED) - 1
    answers = best_of_all(
        store, wanted.problems, device=device, runners_up=runners_up, deterministic=wanted.deterministic
    )
    return triton_module(answers, wanted.rename)


FORMS: dict[str, Callable[[Store, Wanted], str]] = {"pack": _pack, "table": _table, "triton": _triton, "csv": _csv}
