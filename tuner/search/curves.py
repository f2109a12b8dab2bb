"""Replays shown: a table, a picture of the curves, and a page of both."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .replay import GOOD, Stop, Summary, rows

RAW: Final = "replays.json"
PICTURES: Final = (".png", ".svg", ".pdf")
_ACROSS: Final = 3
_LOWEST: Final = 0.6  # of the optimum: what lies below is of no use to anybody


def draw(found: Sequence[Summary], path: Path) -> None:
    """A panel a landscape, a curve a sampler: the median fraction of the optimum after each evaluation.

    The same curves give the same bytes.
    """
    names = list(dict.fromkeys(one.landscape for one in found))
    down = math.ceil(len(names) / _ACROSS)
    across = min(len(names), _ACROSS)
    figure = Figure(figsize=(4.2 * across, 3.2 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False, sharey=True).flat
    for panel, name in zip(panels, names, strict=False):
        _panel(panel, name, [one for one in found if one.landscape == name])
    for panel in list(panels):  # what is left of the grid
        panel.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context({"svg.hashsalt": "curves"}):
        figure.savefig(path, dpi=110, metadata={} if path.suffix == ".png" else {_DATE[path.suffix]: None})


_DATE: Final = {".svg": "Date", ".pdf": "CreationDate"}


def _panel(panel: Axes, name: str, found: Sequence[Summary]) -> None:
    for one in found:
        evaluations = range(1, len(one.curve) + 1)
        panel.plot(evaluations, one.curve, label=one.sampler)
        panel.fill_between(evaluations, one.low_curve, one.curve, alpha=0.12)
    panel.axhline(GOOD, color="0.7", linewidth=0.8, linestyle=":")
    panel.set(title=name, xlabel="evaluations", ylabel="fraction of the optimum", ylim=(_LOWEST, 1.005))
    panel.legend(loc="lower right")


def write_report(found: Sequence[Summary], command: Sequence[str], folder: Path) -> None:
    """`README.md`, `curves.svg` and the raw `replays.json` in `folder`, on replays that `command` made."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = {"command": list(command), "replays": [asdict(one) for one in found]}
    (folder / RAW).write_text(json.dumps(_rounded(raw), separators=(",", ":")) + "\n")
    found, _ = read_raw(folder / RAW)  # rounded, so that the page can be made again from what is kept
    draw(found, folder / "curves.svg")
    head, *body = rows(found)
    table = [head, ["---", "---", *["--:"] * (len(head) - 2)], *body]
    text = _PAGE.format(
        seeds=found[0].seeds,
        good=GOOD,
        command=shlex.join(command),
        table="\n".join(f"| {' | '.join(row)} |" for row in table),
    )
    (folder / "README.md").write_text(text)


def read_raw(path: Path) -> tuple[list[Summary], list[str]]:
    """The replays and the command of a `replays.json`: what its page was made from."""
    raw = json.loads(path.read_text())
    found = []
    for one in raw["replays"]:
        lists = {name: tuple(one[name]) for name in ("curve", "low_curve")}
        found.append(Summary(**{**one, **lists, "stops": tuple(Stop(**stop) for stop in one["stops"])}))
    return found, raw["command"]


def _rounded(value: Any) -> Any:
    """Five digits after the point: a curve is read by eye, and the file kept in a repository."""
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value


_PAGE: Final = """# Samplers on recorded landscapes

What each sampler finds in how many evaluations, replayed on exhaustively measured spaces. A figure is a fraction of the
optimum: the best time of the landscape over that of the best config found, the median of {seeds} seeds, and in brackets
the 10th percentile. A failing config costs one evaluation. The share is that of the searches that ended at {good} or
better. Milliseconds an ask are those of the machine that made this page, busy with other work or not.

![The median fraction after each evaluation; the shade reaches down to the 10th percentile.](curves.svg)

{table}

Made, with the raw curves in `replays.json`, by

    {command}
"""
