"""`tilewright replay`: how samplers do on recorded landscapes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

import click

from .options import json_option, output_file

_landscape = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("files", nargs=-1, required=True, type=_landscape, metavar="FILE...")
@click.option(
    "--sampler", "samplers", default="gp,tpe,climb,random", show_default=True, help="Which ones, joined by commas."
)
@click.option("--budget", type=click.IntRange(1), default=100, show_default=True, help="Evaluations a search.")
@click.option("--seeds", type=click.IntRange(1), default=20, show_default=True, help="Searches a sampler.")
@click.option(
    "--warm-from",
    type=_landscape,
    metavar="FILE",
    help="A landscape of another device or problem: each search starts from one there, of the same budget.",
)
@click.option("--noise", is_flag=True, help="Draw each reading with the recorded spread.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Configs asked for at a time.")
@click.option("--jobs", type=click.IntRange(0), default=0, help="Processes.  [default: one a core]")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=output_file,
    help="Draw the curves: a .png, .svg or .pdf.",
)
@click.option(
    "--report",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write a page there: README.md, the curves, raw JSON.",
)
@json_option
def replay(
    *,
    files: tuple[Path, ...],
    samplers: str,
    budget: int,
    seeds: int,
    warm_from: Path | None,
    noise: bool,
    batch: int,
    jobs: int,
    plot: Path | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """Search recorded landscapes and show how far each sampler comes in how many evaluations.

    A landscape is a CSV, gzip or not: a column an axis, and time_us and outcome. The figures are fractions of the
    optimum: the best time of the landscape over that of the best config found. A failing config costs one evaluation.
    Libraries, which have no axes, are not searched.

    \b
    Example:
      tilewright replay results/nvidia-h200/landscapes/16x6144x4096-bf16-nt.csv.gz --seeds 2 --budget 25
    """
    # One thread a process: a search is as parallel as its seeds, and small matrices gain nothing from more.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from ..tuner.landscape import read_landscape
    from ..tuner.search import SAMPLERS
    from ..tuner.search.replay import ReplayOptions, rows, summaries, without_libraries
    from .present import console, print_json, table

    names = [name.strip() for name in samplers.split(",")]
    unknown = [name for name in names if name not in SAMPLERS]
    if unknown:
        raise click.BadParameter(f"sampler {unknown[0]!r} is not known: use {', '.join(SAMPLERS)}")
    curves = _curves(plot) if plot or report else None
    landscapes = [without_libraries(read_landscape(path)) for path in files]
    neighbour = without_libraries(read_landscape(warm_from)) if warm_from else None
    options = ReplayOptions(budget, batch, noise, neighbour)
    found = list(summaries(landscapes, names, seeds, options, jobs=jobs))
    if curves and plot:
        curves.draw(found, plot)
    if curves and report:
        curves.write_report(found, ["tilewright", *sys.argv[1:]], report)
    if as_json:
        print_json(found)
        return
    head, *body = rows(found)
    columns = [*head[:2], *(f">{column}" for column in head[2:])]
    console().print(table("Fraction of the optimum: the median (the 10th percentile)", columns, body))


def _curves(plot: Path | None) -> ModuleType:
    try:
        from ..tuner.search import curves
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"a picture needs {error.name}: run pip install 'tilewright[plot]', or leave --plot and --report out"
        ) from error
    if plot and plot.suffix not in curves.PICTURES:
        raise click.BadParameter(f"--plot {str(plot)!r} is none: give a name that ends in {', '.join(curves.PICTURES)}")
    return curves
