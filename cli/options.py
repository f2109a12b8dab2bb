"""Options that several commands share, as decorators: which problems, which store, which form of output."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import platformdirs

from ..kernels.epilogue import STEPS
from ..kernels.models import BATCH_SIZES, MODELS, problems_of
from ..kernels.problem import DTYPES, LAYOUTS, OUT_DTYPES, Problem, parse_shape
from .shapes import read_weighted

Command = TypeVar("Command", bound=Callable[..., Any])


class NumbersMayBeNegative(click.Command):
    """A command that takes `-1x4x4` or `-5` for a value, so that the error is about the value.

    click takes it for an unknown option otherwise. No option of ours begins with a digit.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, list(args))
        except click.NoSuchOption as error:
            if not error.option_name.lstrip("-")[:1].isdigit():
                raise
        ctx.ignore_unknown_options = True
        return super().parse_args(ctx, args)


def whole_numbers(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    """Whole numbers from 1 on, joined by commas."""
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise click.BadParameter(f"{value!r} is none: write whole numbers from 1 on, joined by commas, as in 1,16,4096")
    return tuple(dict.fromkeys(map(int, parts)))


def output_file(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """A path that can be written, found out before anything is computed for it."""
    if value is not None and (value.is_file() or value.is_dir() or not value.exists()):  # else a device, or a pipe
        check_folder(value.absolute().parent, str(value))
    return value


def check_folder(folder: Path, what: str) -> None:
    """
    Raises:
        click.BadParameter: a file there cannot be made, or be replaced by another as a whole.
    """
    if not folder.is_dir():
        raise click.BadParameter(f"{what} cannot be written: there is no folder {folder}: make it, or name another")
    if not os.access(folder, os.W_OK):
        raise click.BadParameter(f"{what} cannot be written: you may not write in {folder}: name another folder")


def problem_options(command: Command) -> Command:
    """Adds the ways to name problems; the command gets them as `problems`, a tuple of `Problem`, maybe empty."""

    @weighted_problem_options
    @functools.wraps(command)
    def without_weights(*, calls: Mapping[Problem, int], **rest: Any) -> Any:
        return command(**rest)

    return without_weights  # type: ignore[return-value]


def weighted_problem_options(command: Command) -> Command:
    """The same; the command gets `calls` too, how often each problem is computed, of those of which a file tells."""

    @click.argument("shapes", nargs=-1, metavar="[MxNxK]...")
    @click.option(
        "--model",
        "models",
        multiple=True,
        type=click.Choice(tuple(MODELS)),
        metavar="NAME",
        help=f"The linear layers of a model: {', '.join(MODELS)}.",
    )
    @click.option(
        "--batch-sizes",
        metavar="SIZES",
        callback=whole_numbers,
        default=",".join(map(str, BATCH_SIZES)),
        show_default=True,
        help="The values of m for --model: tokens of a decode step or of a prompt.",
    )
    @click.option(
        "--shapes",
        "files",
        multiple=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="A CSV with the columns m,n,k and, if wanted, dtype,layout,out_dtype,epilogue,calls.",
    )
    @click.option("--dtype", type=click.Choice(tuple(DTYPES)), default="bf16", show_default=True, help="Of A and B.")
    @click.option(
        "--layout", type=click.Choice(LAYOUTS), default="nt", show_default=True, help="A then B: t is transposed."
    )
    @click.option(
        "--out-dtype",
        type=click.Choice(OUT_DTYPES),
        help="Of D.  [default: as A and B; bf16 for one byte]",
    )
    @click.option(
        "--epilogue",
        metavar="STEPS",
        default="",
        help=f"Done to the product before it is stored, as bias+gelu: any of {', '.join(STEPS)}, one activation.",
    )
    @functools.wraps(command)
    def with_problems(
        *,
        shapes: Sequence[str],
        models: Sequence[str],
        batch_sizes: Sequence[int],
        files: Sequence[Path],
        dtype: str,
        layout: str,
        out_dtype: str | None,
        epilogue: str,
        **rest: Any,
    ) -> Any:
        like = Problem(0, 0, 0, dtype, layout, out_dtype or "", epilogue)
        named = [Problem(*shape, dtype, layout, like.out_dtype, like.epilogue) for shape in _parse_shapes(shapes)]
        of_models = [problem for name in models for problem in problems_of(MODELS[name], batch_sizes, like)]
        of_files = [shape for path in files for shape in read_weighted(path, like)]
        calls: Counter[Problem] = Counter()
        for shape in of_files:
            calls[shape.problem] += shape.calls
        problems = tuple(dict.fromkeys((*named, *of_models, *calls)))
        return command(problems=problems, calls=+calls, **rest)

    return with_problems  # type: ignore[return-value]


def db_option(command: Command) -> Command:
    """Adds --db; the command gets `db`, a path or a database URL as text."""
    return click.option(
        "--db",
        envvar="TILEWRIGHT_DB",
        show_envvar=True,
        default=lambda: str(platformdirs.user_data_path("tilewright", appauthor=False) / "tilewright.db"),
        show_default="tilewright.db in your data folder",
        help="The trials: an SQLite file, or a database URL.",
    )(command)


def json_option(command: Command) -> Command:
    """Adds --json; the command gets `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def regime_option(command: Command) -> Command:
    """Adds --regime; the command gets `regime`, a name that the meter checks."""
    return click.option(
        "--regime",
        metavar="NAME",
        default="interleaved",
        show_default=True,
        help="How busy the device is when it is read: interleaved (fair to all), burst (short work after idle) or "
        "sustained (a busy server).",
    )(command)


def _parse_shapes(words: Sequence[str]) -> list[tuple[int, int, int]]:
    """Shapes as they stand on a command line: `16x6144x4096` any number of times, or one as `16 6144 4096`."""
    if len(words) > 1 and not any("x" in word.lower() for word in words):
        if len(words) != 3:
            raise click.BadParameter(f"{' '.join(words)!r} is not m n k: write three numbers, as in 16 6144 4096")
        return [parse_shape("x".join(words))]
    return [parse_shape(word) for word in words]
