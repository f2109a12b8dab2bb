"""`tilewright trials`: all that was tried on a problem, failures with their reasons."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import click

from ..kernels.problem import Problem
from ..tuner.trial import Outcome
from .options import NumbersMayBeNegative, db_option, json_option, problem_options


@click.command(cls=NumbersMayBeNegative)
@problem_options
@click.option("--device", help="Only those on the device of this name.")
@click.option("--family", help="Only those of this kernel family.")
@click.option(
    "--outcome",
    type=click.Choice([outcome.value for outcome in Outcome]),
    metavar="OUTCOME",
    help=f"Only those that ended so: {', '.join(Outcome)}.",
)
@click.option(
    "--sort",
    type=click.Choice(["time", "median"]),
    default="time",
    show_default=True,
    help="The oldest or the fastest first; `median` leaves out what was not measured.",
)
@click.option("--limit", type=click.IntRange(1), help="At most so many: the newest, or the fastest.")
@db_option
@json_option
def trials(
    *,
    problems: tuple[Problem, ...],
    device: str | None,
    family: str | None,
    outcome: str | None,
    sort: Literal["time", "median"],
    limit: int | None,
    db: str,
    as_json: bool,
) -> None:
    """Show all that was tried, failures with their reasons.

    \b
    Examples:
      tilewright trials 512 4096 4096 --sort median --limit 10
      tilewright trials 512x4096x4096 --outcome wrong --json
    """
    from ..tuner.store import TrialQuery, open_store
    from ..tuner.store.query import check_device
    from . import present

    query = TrialQuery(
        device=device, family=family, outcome=Outcome(outcome) if outcome else None, order=sort, limit=limit
    )
    with open_store(db, readonly=True) as store:
        check_device(store, device)
        asked = problems or store.problems()
        found = {problem: store.trials(replace(query, problem=problem)) for problem in asked}
    if family is not None and not any(found.values()):
        raise click.ClickException(f"nothing was tried of family {family!r}, of what is asked for: leave --family out")
    if as_json:
        present.print_json([trial for of_one in found.values() for trial in of_one])
        return
    for problem, of_one in found.items():
        present.console().print(present.trials_table(problem, of_one))
