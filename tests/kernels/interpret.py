"""Runs one family's kernels in Triton's interpreter on the host and prints what is wrong, a line each; run as a program.

A program of its own, for Triton reads TRITON_INTERPRET when a kernel is decorated.
"""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch

from tilewright.kernels.config import Config
from tilewright.kernels.device import nominal
from tilewright.kernels.families import FAMILIES
from tilewright.kernels.family import Call, Family
from tilewright.kernels.operands import Operands, torch_dtype
from tilewright.kernels.problem import DTYPES, LAYOUTS, Problem
from tilewright.kernels.scratch import Scratch
from tilewright.tuner.evaluate.check import compare, reference

# More than a tile each way, tiles cut off, a column, a row, no sum at all, nothing at all.
SHAPES: Final = (
    (70, 96, 144), (1, 64, 40), (64, 64, 64), (3, 1, 5), (33, 65, 17), (130, 40, 1), (16, 1, 64), (40, 48, 0),
    (0, 16, 16), (16, 0, 16),
)  # fmt: skip
MARGIN: Final = 3  # elements around D that must stay as they are
POISON: Final = -77.0
DEVICE: Final = nominal("sm90")


@dataclass(frozen=True, slots=True)
class Form:
    """How matrices lie in memory, beside the problem's own layout.

    Attributes:
        spread: the stride that would be 1.
        padding: elements between one line and the next.
        offset: of the first element.
        repeated: A and B are one line over and over, with a stride of 0.
    """

    name: str
    spread: int = 1
    padding: int = 0
    offset: int = 0
    repeated: bool = False

    def view(self, rows: int, columns: int, transposed: bool, dtype: torch.dtype) -> torch.Tensor:
        """An empty matrix in this form, in memory that holds NaN wherever the matrix is not."""
        if transposed:
            return self.view(columns, rows, False, dtype).T
        line = columns * self.spread + self.padding
        memory = torch.full((self.offset + max(rows, 1) * line + 1,), float("nan"), dtype=dtype)
        return memory.as_strided((rows, columns), (0 if self.repeated else line, self.spread), self.offset)


FORMS: Final = (
    Form("dense"),
    Form("padded rows", padding=8),
    Form("rows of odd length", padding=1),
    Form("offset", offset=3, padding=5),
    Form("no unit stride", spread=2, padding=3),
    Form("repeated lines", repeated=True),
)


def operands(problem: Problem, form: Form, generator: torch.Generator) -> Operands:
    """A and B in that form. D lies within a larger matrix of poison; it has a row or a column to spare at each edge."""
    dtype = torch_dtype(problem.dtype)
    a = form.view(problem.m, problem.k, problem.a_transposed, dtype)
    b = form.view(problem.k, problem.n, problem.b_transposed, dtype)
    for matrix in (a, b):
        lines = matrix.T if 0 in matrix.stride() and matrix.stride(0) else matrix
        if form.repeated and lines.numel():
            lines[0].copy_(torch.randn(lines.shape[1], generator=generator))
        elif not form.repeated:
            matrix.copy_(torch.randn(matrix.shape, generator=generator))
    margin = 0 if form.name == "dense" else MARGIN
    around = torch.full((problem.m + 2 * margin, problem.n + 2 * margin), POISON, dtype=torch_dtype(problem.out_dtype))
    d = around[margin : margin + problem.m, margin : margin + problem.n]
    d.fill_(float("nan"))
    return Operands(a, b, d)


def surroundings_hold(d: torch.Tensor) -> bool:
    """Whether what lies around D still is poison."""
    around = d._base if d._base is not None else d
    outside = around.numel() - int((around == POISON).sum())
    return outside <= d.numel()


def configs(family: Family) -> list[Config]:
    """The smallest tiles, the largest, and some drawn: each value of each axis at least once."""
    chance = random.Random(family.name)
    chosen = [Config.of(family.name, {axis.name: axis.values[0] for axis in family.axes})]
    for index in range(max(len(axis.values) for axis in family.axes)):
        chosen.append(Config.of(family.name, {axis.name: axis.values[index % len(axis.values)] for axis in family.axes}))
    chosen += [Config.of(family.name, {axis.name: chance.choice(axis.values) for axis in family.axes}) for _ in range(2)]
    return list(dict.fromkeys(chosen))


def calls(family: Family) -> Iterator[tuple[Problem, Form, Config]]:
    """Every shape in every layout and form; dtypes and configs take turns."""
    turns = itertools.cycle(configs(family))
    for index, (shape, layout, form) in enumerate(itertools.product(SHAPES, LAYOUTS, FORMS)):
        dtype = ("fp16", "fp32")[index % 2 if form.name != "dense" else (index // len(FORMS)) % 2]
        yield Problem(*shape, dtype, layout, ("", "fp32")[index % 3 == 0]), form, next(turns)


def wrong(family: Family, problem: Problem, form: Form, config: Config) -> str:
    """What is wrong with the result of one call; `refused: ...` when it is not taken."""
    generator = torch.Generator().manual_seed(1)
    given = operands(problem, form, generator)
    asked = Call(problem, DEVICE, given.a, given.b, given.d, Scratch("cpu"))
    refused = family.refuses(asked, config)
    if refused:
        return f"refused: {refused}"
    launch = family.bind(asked, config)
    launch()
    first = given.d.clone()
    check = compare(given.d, reference(problem, given))
    if not check.passed:
        return str(check)
    if not surroundings_hold(given.d):
        return "something was written beside D"
    given.d.fill_(float("nan"))
    launch()
    return "" if torch.equal(first, given.d) else "a repeat differs"


def main(name: str) -> None:
    family = FAMILIES[name]
    count = refused = 0
    splits = False
    for problem, form, config in calls(family):
        if any(extent == 0 for extent in problem.shape) and family.space(problem, DEVICE).rejection(config) is None:
            print(f"{problem} {config}: an empty product is not rejected")
        found = wrong(family, problem, form, config)
        count += 1
        if found.startswith("refused: ") and len(found.split()) > 5:
            refused += 1
        elif found:
            print(f"{problem}, {form.name}, {config}: {found}")
        splits |= config.get("split", 1) != 1 or config.get("programs_per_sm", 0) != 0
    print(f"{count} calls, {refused} refused, of dtypes {', '.join(DTYPES)}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1])
