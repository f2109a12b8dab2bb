"""`tilewright best`: the fastest known config of a problem, and where that answer comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ..kernels.problem import Problem
from .options import NumbersMayBeNegative, db_option, json_option, problem_options

if TYPE_CHECKING:
    from ..tuner.store import Store
    from ..tuner.store.query import Answer


@click.command(cls=NumbersMayBeNegative)
@problem_options
@click.option("--device", help="The name of the device that it was measured on.  [default: the latest]")
@click.option("--exact", is_flag=True, help="No answer from a near problem.")
@click.option("--runners-up", type=click.IntRange(0), default=5, show_default=True, help="How many to show.")
@click.option("--regime", metavar="NAME", help="Only what was measured so: interleaved, burst, sustained.")
@click.option("--deterministic", is_flag=True, help="Only what gives the same bits in every run.")
@db_option
@json_option
def best(*, problems: tuple[Problem, ...], regime: str | None, exact: bool, db: str, as_json: bool, **how: Any) -> None:
    """Show the fastest known config and its runners-up.

    The ratio is against cuBLAS, paired round by round: 1.03 is 3% faster. `roofline` is how near a config comes to what
    the device's measured rates allow. A problem that was never measured is answered by the nearest one that was. With
    no problem named, every stored one is shown. With --deterministic no library is: of cuBLAS the same bits are
    promised only while one stream is active.

    \b
    Examples:
      tilewright best 512 4096 4096
      tilewright best --model llama-3.1-8b --json
      tilewright best
    """
    from ..tuner.evaluate.regime import regime_of
    from ..tuner.evaluate.toolchain import toolchain
    from ..tuner.store import open_store
    from ..tuner.store.query import check_device
    from . import present

    with open_store(db, readonly=True) as store:
        check_device(store, how["device"])
        asked = problems or store.problems()
        if not asked:
            raise click.ClickException(f"{store.name} is empty: tune first, as with `tilewright tune 4096x4096x4096`")
        read = store.by_protocol(regime_of(regime).protocol) if regime else store
        answers, missing = _ask(read, asked, near=not exact, environment=toolchain(), **how)
    if as_json:
        present.print_json(answers)
    elif len(asked) == 1:
        present.console().print(present.answer_table(answers[0]))
    else:
        present.console().print(present.answers_table(answers))
    if missing:
        click.echo(f"No result for {', '.join(missing)}", err=True)


def _ask(store: Store, problems: Sequence[Problem], **how: Any) -> tuple[list[Answer], list[str]]:
    """The answers, and the problems that have none.

    Raises:
        ValueError: none of them has one.
    """
    from ..tuner.store.query import NotStoredError, best

    answers, missing = [], []
    for problem in problems:
        try:
            answers.append(best(store, problem, **how))
        except NotStoredError:
            missing.append(problem.key)
            if len(missing) == len(problems):
                raise
    return answers, missing
