"""`tilewright verify`: are the stored winners still right, and still as fast?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..kernels.problem import Problem
from .options import NumbersMayBeNegative, db_option, json_option, problem_options

if TYPE_CHECKING:
    from ..tuner.verify import Verdict

REGRESSED = 1


@click.command(cls=NumbersMayBeNegative)
@problem_options
@click.option("--device", default="gpu", show_default=True, help="gpu, gpu:1, cpu or replay:FILE.")
@click.option("--runners-up", type=click.IntRange(0), default=3, show_default=True, help="How many to try again.")
@click.option("--jobs", type=click.IntRange(0), default=0, help="Compiling processes.  [default: cores - 1]")
@db_option
@json_option
@click.pass_context
def verify(
    ctx: click.Context,
    *,
    problems: tuple[Problem, ...],
    device: str,
    runners_up: int,
    jobs: int,
    db: str,
    as_json: bool,
) -> None:
    """Check and race the stored winners and their runners-up again, under today's toolchain.

    What was found replaces what was stored. Ends with code 1 when a winner broke or became slower by more than 2% of
    its ratio to the library, for use in CI. With no problem named, every stored one is verified.

    \b
    Example:
      tilewright verify 4096x4096x4096
    """
    from ..tuner.evaluate import MeterOptions, open_meter
    from ..tuner.store import open_store
    from ..tuner.verify import verify as verify_one
    from . import present

    meter = open_meter(device, MeterOptions(jobs=jobs))
    try:
        with open_store(db) as store:
            verdicts: list[Verdict] = []
            for problem in problems or store.problems():
                verdict = verify_one(problem, meter, store, runners_up)
                if verdict is None:
                    click.echo(f"{problem}: nothing of our own is stored on {meter.device.name}", err=True)
                else:
                    verdicts.append(verdict)
    finally:
        meter.close()
    if as_json:
        present.print_json(verdicts)
    else:
        present.console().print(present.verdicts_table(verdicts))
    ctx.exit(REGRESSED if any(verdict.regressed for verdict in verdicts) else 0)
