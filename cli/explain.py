"""`tilewright explain`: what limited a problem's space, which axes mattered, what may be left."""

from __future__ import annotations

import click

from ..kernels.problem import Problem
from .options import NumbersMayBeNegative, db_option, json_option, problem_options


@click.command(cls=NumbersMayBeNegative)
@problem_options
@click.option("--device", help="The name of a device with results, or an arch as sm90.  [default: the latest]")
@db_option
@json_option
def explain(*, problems: tuple[Problem, ...], device: str | None, db: str, as_json: bool) -> None:
    """Say what limited the space of a problem, which axes mattered, and whether something better may be left.

    \b
    Example:
      tilewright explain 512 4096 4096
    """
    from ..kernels.device import ARCHES, REPLAYED, nominal
    from ..tuner.explain import explain as explain_one
    from ..tuner.store import open_store
    from ..tuner.store.query import latest_device
    from . import present

    if not problems:
        raise click.UsageError("name a problem, as in `tilewright explain 512 4096 4096`")
    with open_store(db, readonly=True) as store:
        known = {one.name: one for one in store.devices()}
        explanations = []
        for problem in problems:
            name = device or latest_device(store, problem)
            if name is None or (name not in known and name not in ARCHES):
                fault = f"{problem} was tried on no device" if device is None else f"device {device!r} is not known"
                raise click.ClickException(f"{fault}: name one with --device: {', '.join((*known, *ARCHES))}")
            if name in known and known[name].arch == REPLAYED:
                here = "which has no limits of its own: name the GPU that it stands for"
                raise click.ClickException(f"{problem} was tried in a {name}, {here}, as with --device sm90")
            explanations.append(explain_one(problem, known.get(name) or nominal(name), store))
    if as_json:
        present.print_json(explanations)
        return
    for explanation in explanations:
        present.print_explanation(explanation)
