"""`tilewright coverage`: which problems of a program are tuned, near or missing, and what to tune next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ..kernels.problem import Problem
from .shapes import Shape, read_weighted

if TYPE_CHECKING:
    from ..kernels.dispatch.table import Table

NEXT: Final = 10  # problems to tune that are named
STATES: Final = ("tuned", "near", "missing")
# What a call takes where it is not told, from rates of a large GPU: only shares are made of it.
FLOPS_PER_US, BYTES_PER_US = 6e8, 3e6


@dataclass(frozen=True, slots=True)
class Covered:
    """A shape with its state, its weight in us, and why."""

    shape: Shape
    state: str
    weight_us: float
    why: str


@click.command()
@click.argument("shapes", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--table",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A table.  [default: the one that serves this machine's GPU]",
)
def coverage(shapes: Path, table: Path | None) -> None:
    """Tell which problems of a file of shapes are tuned, near or missing, weighted by the time that they take.

    The columns calls and us of `tilewright record` are the weights. Near are those that a kernel tuned for another m
    serves. What is missing is served by the library.

    \b
    Examples:
      tilewright coverage shapes.csv
      tilewright coverage shapes.csv --table results/nvidia-h200/table.json
    """
    read = _table(table)
    rows = [covered(shape, read) for shape in read_weighted(shapes, Problem(1, 1, 1))]
    total = sum(row.weight_us for row in rows) or 1.0
    for state in STATES:
        those = [row for row in rows if row.state == state]
        click.echo(f"{state:8} {sum(row.weight_us for row in those) / total:6.1%} of the time, {len(those)} problems")
    for row in _by_weight(row for row in rows if row.state == "missing")[:NEXT]:
        problem = row.shape.problem
        share = f"{row.weight_us / total:6.1%}"
        click.echo(f"{share}  tilewright tune {problem.m}x{problem.n}x{problem.k} {problem.options}  # {row.why}")


def _by_weight(rows: Iterable[Covered]) -> list[Covered]:
    return sorted(rows, key=lambda row: -row.weight_us)


def covered(shape: Shape, table: Table) -> Covered:
    from ..kernels.dispatch.lookup import Origin, lookup

    problem, calls = shape.problem, max(shape.calls, 1)
    weight = shape.us or calls * max(problem.flops / FLOPS_PER_US, problem.bytes_moved / BYTES_PER_US)
    choice = lookup(table, problem)
    near = choice.origin is Origin.NEAR
    state = "tuned" if problem in table.winners else "near" if near else "missing"
    return Covered(shape, state, weight, choice.why)


def _table(path: Path | None) -> Table:
    from ..kernels.dispatch.table import read_table

    if path is not None:
        return read_table(path.read_bytes(), str(path))
    import torch

    if not torch.cuda.is_available():
        raise click.UsageError("there is no GPU here whose table could be taken: name one with --table")
    from ..kernels.dispatch.direct import engine_of

    found = engine_of(0).found
    if found.table is None:
        raise click.ClickException(f"no table serves this GPU: {'; '.join(found.refused) or 'tune and export one'}")
    return found.table
