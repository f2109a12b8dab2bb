"""`tilewright import`: takes tuning packs of other machines into the store."""

from __future__ import annotations

from pathlib import Path

import click

from .options import db_option


@click.command("import")
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--device", "devices", multiple=True, help="Refuse results of any other device than those of this name.")
@click.option("--family", "families", multiple=True, help="A family of your own, as package.module:NAME.")
@db_option
def import_(*, files: tuple[Path, ...], devices: tuple[str, ...], families: tuple[str, ...], db: str) -> None:
    """Merge tuning packs into the store: all of them, or none when any is wrong.

    Of the same trial, in a pack or in the store, the newer stands. Importing a pack again changes nothing.

    \b
    Example:
      tilewright import results.pack.json
    """
    from ..kernels.families import FAMILIES, family
    from ..tuner.store import open_store
    from ..tuner.store.unpack import read_pack

    known = {**FAMILIES, **{name: family(name) for name in families}}
    packs = [read_pack(file.read_bytes(), str(file), devices=devices, families=known) for file in files]
    trials = [trial for pack in packs for trial in pack.trials]
    races = [race for pack in packs for race in pack.races]
    with open_store(db) as store:
        store.add_all(trials, races, [ceilings for pack in packs for ceilings in pack.ceilings])
        name = store.name
    click.echo(f"{len(trials)} trials and {len(races)} races of {len(files)} packs are in {name}")
