"""The curves of a crossover as a picture; imported where one is asked for, as matplotlib takes a second.

Raises:
    click.ClickException: matplotlib is not installed.
"""

from __future__ import annotations

from pathlib import Path

import click

from ..tuner.crossover import Crossover

try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
except ImportError as error:
    raise click.ClickException(
        f"a picture needs matplotlib ({error}): run pip install 'tilewright[plot]', or leave --plot out"
    ) from None

_SIZE_INCHES = (8.0, 5.0)


def draw(found: Crossover, path: Path) -> None:
    """Writes a PNG or an SVG, as the name ends: time over m, both logarithmic, with a line at each overtaking."""
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    FigureCanvasAgg(figure)  # no window, whatever the machine has
    axes = figure.add_subplot(xscale="log", yscale="log")
    colours = {}
    for curve in found.curves:
        sizes, times = [point.m for point in curve.points], [point.time_us for point in curve.points]
        (line,) = axes.plot(sizes, times, marker="o", markersize=4, label=curve.where)
        colours[curve.where] = line.get_color()
    for one in found.overtakings:
        if one.m is not None and one.above is not None:
            axes.axvline(one.m, color=colours[one.where], linestyle=":", linewidth=1)
    layer = found.layer
    axes.set_title(f"n = {layer.n}, k = {layer.k}, {layer.dtype}: {' and '.join(found.devices)}", fontsize=10)
    axes.set_xlabel("m")
    axes.set_ylabel("time of a launch, us")
    axes.grid(which="major", alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150, format=path.suffix[1:].lower())
