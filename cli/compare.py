"""`tilewright compare`: the tuned kernel, cuBLAS and the CPU's BLAS on this machine, in one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..kernels.problem import Problem
from .options import NumbersMayBeNegative, db_option, json_option, problem_options, regime_option

if TYPE_CHECKING:
    from ..tuner.compare import Comparison, Contender


@click.command(cls=NumbersMayBeNegative)
@problem_options
@regime_option
@click.option("--jobs", type=click.IntRange(0), default=0, help="Compiling processes.  [default: cores - 1]")
@db_option
@json_option
def compare(*, problems: tuple[Problem, ...], regime: str, jobs: int, db: str, as_json: bool) -> None:
    """Compare the tuned kernel with cuBLAS and with the CPU's BLAS, on this machine, in one run.

    Each has its time, its TFLOP/s, how near it is to its device's measured roofline, and how many times as fast as
    cuBLAS it is, with the interval of that ratio. Operands lie in the device's own memory: `crossover` tells what it
    costs to move them. With no problem named, every stored one is compared. Without a GPU, the CPU's side is.

    \b
    Examples:
      tilewright compare 512x512x512
      tilewright compare 16x6144x4096 --regime sustained --json
    """
    from ..tuner.compare import compare as compare_one
    from ..tuner.evaluate import MeterOptions
    from ..tuner.evaluate.machine import this_machine
    from ..tuner.store import open_store
    from . import present
    from .progress import each

    with open_store(db) as store:
        asked = problems or store.problems()
        if not asked:
            raise click.UsageError("name a problem, as in `tilewright compare 4096x4096x4096`: nothing is stored yet")
        with this_machine(MeterOptions(jobs=jobs, regime=regime)) as machine:
            for concern in machine.concerns:
                click.echo(concern, err=True)
            found = [compare_one(problem, machine, store) for problem in each(asked)]
    if as_json:
        present.print_json(found)
    else:
        _show(found)


def _show(found: list[Comparison]) -> None:
    from . import present

    rows = [(one.problem.key, *_row(contender, one)) for one in found for contender in one.contenders]
    columns = ("problem", "what", ">us", ">TFLOP/s", ">roofline", "times as fast", "on", "config")
    present.console().print(present.table("", columns, rows))
    present.console().print(f"Regime {found[0].regime}; `times as fast` as the first of each problem.")
    verdicts = (f"{one.problem}: {one.verdict}" for one in found if one.verdict)
    for note in dict.fromkeys((*verdicts, *(note for one in found for note in one.missing))):
        present.console().print(note)


def _row(contender: Contender, comparison: Comparison) -> tuple[str, ...]:
    from . import present

    reference = contender.what == comparison.reference
    threads = f", {contender.threads} threads" if contender.threads else ""
    return (
        contender.what,
        f"{contender.time_us:.1f}",
        f"{contender.tflops:.3g}",
        present.roofline_text(contender.of_roofline),
        "1" if reference else present.ratio_text(contender.ratio),
        f"{contender.device.name}{threads}",
        present.axes_text(contender.config),
    )
