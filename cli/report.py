"""`tilewright report`: a Markdown page on what was raced and recorded on a device."""

from __future__ import annotations

from pathlib import Path

import click

from .options import db_option


@click.command()
@click.argument("pack", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--device", help="The name of the device.  [default: the only one]")
@click.option(
    "--landscapes",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of landscapes recorded on it.",
)
@db_option
def report(*, pack: Path | None, device: str | None, landscapes: Path | None, db: str) -> None:
    """Print a page on a device's winners, out of a tuning pack or of the database.

    \b
    Example:
      tilewright report winners.json --landscapes landscapes
    """
    from ..tuner.landscape import read_landscape
    from ..tuner.report import report as report_of
    from ..tuner.store import open_store
    from ..tuner.store.unpack import read_pack

    with open_store("memory://" if pack else db, readonly=pack is None) as store:
        if pack is not None:
            held = read_pack(pack.read_bytes(), str(pack))
            store.add_all(held.trials, held.races, held.ceilings)
        devices = [one for one in store.devices() if device in (None, one.name)]
        if len(devices) != 1:
            known = ", ".join(one.name for one in store.devices()) or "none"
            raise click.ClickException(f"--device must name one of the devices that have results: {known}")
        files = sorted(landscapes.glob("*.csv.gz")) if landscapes is not None else []
        named = [(path.name.removesuffix(".csv.gz"), read_landscape(path)) for path in files]
        click.echo(report_of(store, devices[0], named), nl=False)
