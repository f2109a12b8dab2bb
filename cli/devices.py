"""`tilewright devices`: what has been tuned for, and how much is known of each."""

from __future__ import annotations

import click

from .options import db_option, json_option


@click.command()
@db_option
@json_option
def devices(*, db: str, as_json: bool) -> None:
    """Show the devices that there are results of.

    \b
    Example:
      tilewright devices
    """
    from ..tuner.store import open_store
    from . import present

    with open_store(db, readonly=True) as store:
        holdings = store.holdings()
    if as_json:
        present.print_json(holdings)
        return
    rows = [
        (
            holding.device.name,
            holding.device.arch,
            str(holding.device.sm_count),
            f"{holding.device.memory_bytes / 2**30:.0f}",
            str(holding.problems),
            str(holding.trials),
            str(holding.trials - holding.measured),
            str(holding.races),
            "-" if holding.latest is None else present.age(holding.latest),
        )
        for holding in holdings
    ]
    columns = ("device", "arch", ">SMs", ">GiB", ">problems", ">trials", ">failed", ">races", "latest")
    present.console().print(present.table("", columns, rows))
