"""`tilewright compile`: what the compiler makes of a problem's configs; needs no GPU."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import click

from ..kernels.config import Config
from ..kernels.device import ARCHES, Device, nominal
from ..kernels.problem import Problem
from .options import NumbersMayBeNegative, json_option, problem_options


@click.command(cls=NumbersMayBeNegative)
@problem_options
@click.option(
    "--arch", type=click.Choice(tuple(ARCHES)), default="sm90", show_default=True, help="What to compile for."
)
@click.option("--family", "families", multiple=True, help="Only configs of this family; may be repeated.")
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=16,
    show_default=True,
    help="At most so many configs a problem: the families' defaults, then some spread over the space. 0 for all.",
)
@click.option("--jobs", type=click.IntRange(1), help="Compilers at work at once.  [default: one a core but one]")
@json_option
def compile(
    *, problems: tuple[Problem, ...], arch: str, families: tuple[str, ...], limit: int, jobs: int | None, as_json: bool
) -> None:
    """Show what the compiler makes of configs; needs no GPU.

    For each: registers a thread, spilled bytes a thread, shared memory in bytes a block, seconds.

    \b
    Examples:
      tilewright compile 4096x4096x4096 --arch sm90 --limit 4
      tilewright compile 16x6144x4096 --arch sm100 --family split_k --limit 2 --json
    """
    from ..tuner.evaluate.compiler import CompilePool, Job, compile_all
    from . import present

    if not problems:
        raise click.UsageError("No problem is named: write one, as in 4096x4096x4096, or --model, or --shapes.")
    device = nominal(arch)
    chosen = {problem: _configs(problem, device, families, limit) for problem in problems}
    pool = CompilePool(device, jobs or 0)
    try:
        built = compile_all(device, [Job(problem, one) for problem, some in chosen.items() for one in some], pool)
    finally:
        pool.close()
    if as_json:
        present.print_json(built)
        return
    for problem, some in chosen.items():
        of_one = sorted(
            (one for one in built if one.job.problem == problem), key=lambda one: some.index(one.job.config)
        )
        present.console().print(present.built_table(problem, device, of_one))


def _configs(problem: Problem, device: Device, names: Sequence[str], limit: int) -> list[Config]:
    """Valid configs of compiled families: defaults first, then every so manieth, so that `limit` spans the space."""
    from ..kernels.families import FAMILIES, family
    from .present import why_empty

    chosen = [one for one in map(family, names or FAMILIES) if not one.is_library]
    if not chosen:
        raise click.UsageError(f"--family {', '.join(names)} is a library: there is nothing to compile. Name another.")
    spaces = {one.name: one.space(problem, device) for one in chosen}
    valid = list(itertools.chain.from_iterable(spaces.values()))
    if not valid:
        reasons = dict.fromkeys(why_empty(space) for space in spaces.values())
        raise click.ClickException(f"{problem} has no valid config on {device.arch}: {'; '.join(reasons)}")
    if not limit:
        return valid
    defaults = [one for family in chosen for one in family.defaults(problem, device) if one in spaces[family.name]]
    rest = [one for one in valid if one not in defaults]
    count = min(max(limit - len(defaults), 0), len(rest))
    return [*defaults, *(rest[index * len(rest) // count] for index in range(count))][:limit]
