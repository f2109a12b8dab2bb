"""`tilewright landscape`: measures whole spaces and writes them as landscapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..kernels.problem import Problem
from .options import NumbersMayBeNegative, check_folder, db_option, problem_options


@click.command(cls=NumbersMayBeNegative)
@problem_options
@click.option("--device", default="gpu", show_default=True, help="gpu or gpu:1, or replay:FILE.")
@click.option("--family", "families", multiple=True, metavar="NAME", help="Only these kernel families.")
@click.option("--jobs", type=click.IntRange(0), default=0, help="Compiling processes.  [default: cores - 1]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the inputs.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("."),
    show_default=True,
    help="The folder that gets one <m>x<n>x<k>-<dtype>-<layout>.csv.gz a problem.",
)
@db_option
def landscape(*, problems: tuple[Problem, ...], device: str, out: Path, db: str, **how: Any) -> None:
    """Measure every valid config of each problem, and write what came out as a landscape.

    Stop it and start it again with the same database: it goes on where it was. A landscape can be searched again on any
    machine: `tilewright tune --device replay:FILE`, `tilewright replay FILE`.

    \b
    Example:
      tilewright landscape 16x6144x4096 --out results/nvidia-h200/landscapes --db results/landscapes.db
    """
    if not problems:
        raise click.UsageError("name a problem, as in `tilewright landscape 16x6144x4096`")
    from ..tuner.api import TuneOptions
    from ..tuner.evaluate import open_meter
    from ..tuner.recording import record_landscapes
    from ..tuner.store import open_store
    from .progress import watching

    options = TuneOptions(effort="exhaustive", **how)
    study = options.study()
    out.mkdir(parents=True, exist_ok=True)
    check_folder(out, "a landscape")
    meter = open_meter(device, options.meter())
    try:
        with open_store(db) as store, watching(meter.device.name) as watch:
            for path in record_landscapes(problems, meter, store, out=out, options=study, watch=watch):
                click.echo(path)
    finally:
        meter.close()
