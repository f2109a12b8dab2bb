"""`tilewright crossover`: from which m on a layer should run on the GPU, its data there or moved over PCIe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ..kernels.problem import DTYPES, LAYOUTS, Problem
from .options import db_option, json_option, output_file, whole_numbers

if TYPE_CHECKING:
    from ..tuner.crossover import Crossover

PICTURES: Final = (".png", ".svg")


def picture(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """A path whose end says what kind of picture it is."""
    if value is not None and value.suffix.lower() not in PICTURES:
        raise click.BadParameter(f"{str(value)!r} is no picture: end its name with {' or '.join(PICTURES)}")
    return output_file(ctx, param, value)


@click.command()
@click.argument("n", type=click.IntRange(1))
@click.argument("k", type=click.IntRange(1))
@click.option(
    "--m",
    "sizes",
    metavar="SIZES",
    callback=whole_numbers,
    default="1,2,4,8,16,32,64,128,256,512,1024,2048,4096",
    show_default=True,
    help="Rows of the input: tokens at once.",
)
@click.option("--dtype", type=click.Choice(tuple(DTYPES)), default="bf16", show_default=True, help="Of the operands.")
@click.option("--layout", type=click.Choice(LAYOUTS), default="nt", show_default=True, help="t is transposed.")
@click.option("--move-weights", is_flag=True, help="Move the weights as well; else they stay on the GPU.")
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), callback=picture, help="A picture: PNG or SVG."
)
@db_option
@json_option
def crossover(
    *,
    n: int,
    k: int,
    sizes: tuple[int, ...],
    dtype: str,
    layout: str,
    move_weights: bool,
    plot: Path | None,
    db: str,
    as_json: bool,
) -> None:
    """Show from which m on a layer with weights [N, K] should run on the GPU.

    Four curves: the CPU's BLAS with data in host memory, and the GPU with data already there, or with input and output
    moved over PCIe, from pinned and from pageable memory. Without a GPU, the CPU's curve.

    \b
    Examples:
      tilewright crossover 512 512 --m 1,16,128
      tilewright crossover 1024 512 --m 1,64 --plot crossover.svg --move-weights
    """
    from ..tuner.crossover import crossover as measure
    from ..tuner.evaluate import MeterOptions
    from ..tuner.evaluate.machine import this_machine
    from ..tuner.store import open_store
    from . import present

    if plot is not None:
        from .picture import draw
    layer = Problem(max(sizes), n, k, dtype, layout)
    with open_store(db) as store, this_machine(MeterOptions()) as machine:
        for concern in machine.concerns:
            click.echo(concern, err=True)
        found = measure(layer, sizes, machine, store, move_weights=move_weights)
    if plot is not None:
        draw(found, plot)
    if as_json:
        present.print_json(found)
    else:
        _show(found)


def _show(found: Crossover) -> None:
    from . import present

    sizes = sorted({point.m for curve in found.curves for point in curve.points})
    by_place = [{point.m: point for point in curve.points} for curve in found.curves]
    rows = []
    for m in sizes:
        here = [points.get(m) for points in by_place]
        cells = ["-" if point is None else f"{point.time_us:.1f}" for point in here]
        rows.append((str(m), *cells, "; ".join(dict.fromkeys(point.how for point in here if point))))
    columns = (">m", *(f">{curve.where}, us" for curve in found.curves), "computed by")
    layer = found.layer
    title = f"n = {layer.n}, k = {layer.k}, {layer.dtype}, {layer.layout} on {' and '.join(found.devices)}"
    moved = "Moved are input, output and weights." if found.move_weights else "Moved are input and output."
    overtakings = [_overtaking_text(one.where, one.m, one.above) for one in found.overtakings]
    present.console().print(present.table(title, columns, rows))
    for line in (moved, *overtakings, *found.missing, found.sentence):
        present.console().print(line)


def _overtaking_text(where: str, m: float | None, above: int | None) -> str:
    if m is None:
        return f"{where}: the CPU is faster at the largest m"
    if above is None:
        return f"{where}: faster than the CPU from the smallest m on"
    return f"{where}: overtakes the CPU at about m = {m:.0f}"
