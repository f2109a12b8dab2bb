"""The live display of what takes long: where it stands, the best so far against cuBLAS, the time left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ..kernels.problem import Problem
from ..tuner.plan import PlanProgress


@contextmanager
def watching(device: str) -> Iterator[Callable[[PlanProgress], None]]:
    """What `tune` reports to: a bar on a terminal, one line a problem elsewhere; on standard error."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    columns = (
        TextColumn("{task.fields[place]} {task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("best {task.fields[best]}"),
        TextColumn("{task.fields[left]} left"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(device, total=1, place="", best="-", left="?")

        def watch(at: PlanProgress) -> None:
            study = at.study
            shown.update(
                task,
                description=study.problem.key,
                completed=at.done,
                total=max(at.total, 1),
                place=f"[{at.index + 1}/{at.count}]",
                best=best_text(at),
                left=duration(at.seconds_left),
            )

        yield watch


def each(problems: Sequence[Problem]) -> Iterator[Problem]:
    """The problems in turn, with a bar that says which is under way and how long the rest will take; where there is no
    terminal, with a line for each."""
    columns = (
        TextColumn("[{task.completed:.0f}/{task.total:.0f}] {task.description}"),
        BarColumn(bar_width=24),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    on_terminal = sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not on_terminal) as shown:
        task = shown.add_task("", total=len(problems))
        for number, problem in enumerate(problems, 1):
            shown.update(task, description=problem.key)
            if len(problems) > 1 and not on_terminal:
                print(f"[{number}/{len(problems)}] {problem}", file=sys.stderr, flush=True)
            yield problem
            shown.advance(task)


def best_text(at: PlanProgress) -> str:
    """`1.02 of cuBLAS`, or a time where nothing was compared; `-` before anything was measured."""
    study = at.study
    if study.best_speed is not None:
        return f"{study.best_speed:.2f} of the library"
    return "-" if study.best_us is None else f"{study.best_us:.1f} us"


def duration(seconds: float) -> str:
    """`1:05` for 65 seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _lines() -> Callable[[PlanProgress], None]:
    """For a log: a line when a problem has ended its trials."""

    def watch(at: PlanProgress) -> None:
        study = at.study
        if at.ended:
            failed = f", {study.failed} failed" if study.failed else ""
            failed += f", {study.left_out} left out that failed on other problems" if study.left_out else ""
            line = f"[{at.index + 1}/{at.count}] {study.problem}: {study.done} trials{failed} in {study.seconds:.1f} s"
            print(f"{line}, best {best_text(at)}", file=sys.stderr, flush=True)

    return watch
