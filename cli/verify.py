"""`tilewright verify`: are the stored winners still right, and still as fast?"""

from __future__ import annotations

import click

from ..kernels.problem import Problem
from .options import NumbersMayBeNegative, db_option, json_option, problem_options, regime_option

REGRESSED = 1


@click.command(cls=NumbersMayBeNegative)
@problem_options
@click.option("--device", default="gpu", show_default=True, help="gpu, gpu:1, cpu or replay:FILE.")
@click.option("--runners-up", type=click.IntRange(0), default=3, show_default=True, help="How many to try again.")
@click.option("--jobs", type=click.IntRange(0), default=0, help="Compiling processes.  [default: cores - 1]")
@regime_option
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
    regime: str,
    db: str,
    as_json: bool,
) -> None:
    """Check and race the stored winners and their runners-up again, under today's toolchain.

    What was found replaces what was stored. Ends with code 1 when a winner broke or became slower by more than 2% of
    its ratio to the library, for use in CI; with 2 when there was nothing to verify. With no problem named, every
    stored one is verified.

    \b
    Examples:
      tilewright verify 4096x4096x4096
      tilewright verify --device gpu:1 --json
    """
    from ..tuner.evaluate import MeterOptions, open_meter
    from ..tuner.store import open_store
    from ..tuner.verify import verify as verify_one
    from . import present
    from .progress import each

    with open_store(db, readonly=True) as store:  # a store that is not there is a mistake, and not made
        asked = problems or tuple(store.problems())
    meter = open_meter(device, MeterOptions(jobs=jobs, regime=regime))
    try:
        with open_store(db) as store:
            found = {problem: verify_one(problem, meter, store, runners_up) for problem in each(asked)}
            where = f"{store.name} on {meter.device.name}"
    finally:
        meter.close()
    verdicts = [verdict for verdict in found.values() if verdict is not None]
    if not verdicts:
        raise click.ClickException(f"no config of our own is stored in {where}: tune first, or name another --device")
    if as_json:
        present.print_json(verdicts)
    else:
        present.console().print(present.verdicts_table(verdicts))
    if missing := [problem.key for problem, verdict in found.items() if verdict is None]:
        click.echo(f"No config of our own is stored in {where} of {', '.join(missing)}", err=True)
    ctx.exit(REGRESSED if any(verdict.regressed for verdict in verdicts) else 0)
