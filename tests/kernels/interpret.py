"""Runs one family's kernels in Triton's interpreter on the host and prints what is wrong, a line each; a program.

A program of its own, for Triton reads TRITON_INTERPRET when a kernel is decorated.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import torch

from tilewright.kernels import fused
from tilewright.kernels.config import Config
from tilewright.kernels.device import nominal
from tilewright.kernels.epilogue import steps_of
from tilewright.kernels.families import FAMILIES
from tilewright.kernels.family import Call, Family
from tilewright.kernels.operands import Operands, call, epilogue_operands, quantized, torch_dtype
from tilewright.kernels.problem import DTYPES, LAYOUTS, Problem
from tilewright.kernels.scratch import Scratch
from tilewright.tuner.evaluate.check import compare, reference

# Tiles that are whole, cut off, or all there is; a row, a column, no sum at all, nothing at all.
SHAPES: Final = (
    (64, 64, 64), (72, 72, 144), (1, 64, 40), (3, 1, 5), (33, 65, 17), (130, 40, 1), (16, 1, 64), (40, 48, 0),
    (0, 16, 16), (16, 0, 16),
)  # fmt: skip
EPILOGUES: Final = (
    "scale", "row_scale", "column_scale", "bias", "relu", "gelu", "gelu_tanh", "silu", "up", "residual", "bias+gelu",
    "scale+row_scale+column_scale+bias+silu+residual", "silu+up", "bias+gelu+up+residual",
)  # fmt: skip
SHAPES_IN_FORMS: Final = ((33, 65, 17), (72, 40, 80))
ONE_BYTE: Final = ("int8", "e4m3", "e5m2", "e4m3fast")
POISON: Final = -77.0
REFUSED: Final = "refused: "
SENTENCE: Final = re.compile(rf"{REFUSED}[ABD] (is|has) .{{5,}}: .{{10,}}")
DEVICE: Final = replace(nominal("sm90"), sm_count=1)  # so few that programs which stay have tiles to walk


@dataclass(frozen=True, slots=True)
class Form:
    """How matrices lie in memory, beside the problem's own layout.

    Attributes:
        spread: the stride that would be 1.
        padding: elements between one line and the next.
        offset: of the first element.
        margin: elements around D that must stay as they are.
        repeated: A and B are one line over and over, with a stride of 0.
    """

    name: str
    spread: int = 1
    padding: int = 0
    offset: int = 0
    margin: int = 3
    repeated: bool = False

    def view(self, rows: int, columns: int, transposed: bool, dtype: torch.dtype) -> torch.Tensor:
        """An empty matrix in this form, in memory that holds NaN, or 127, wherever the matrix is not."""
        if transposed:
            return self.view(columns, rows, False, dtype).T
        line = columns * self.spread + self.padding
        around = float("nan") if dtype.is_floating_point else 127
        memory = torch.full((self.offset + max(rows, 1) * line + 1,), around, dtype=dtype)
        return memory.as_strided((rows, columns), (0 if self.repeated else line, self.spread), self.offset)


FORMS: Final = (
    Form("dense", margin=0),
    Form("padded rows", padding=8, margin=8),
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
    beside = epilogue_operands(problem, generator)
    if "up" in beside:
        beside["up"] = form.view(problem.k, problem.n, problem.b_transposed, dtype).copy_(beside["up"])
    for matrix in (a, b):
        if not form.repeated:
            matrix.copy_(normal(problem, matrix.shape, generator))
        elif matrix.numel():  # whole numbers: the bound of a check is for sums of values that differ
            line = matrix[0] if matrix.stride(0) == 0 else matrix[:, 0]
            line.copy_(torch.randint(-4, 5, line.shape, generator=generator))
    around = torch.full(
        (problem.m + 2 * form.margin, problem.n + 2 * form.margin), POISON, dtype=torch_dtype(problem.out_dtype)
    )
    d = around[form.margin : form.margin + problem.m, form.margin : form.margin + problem.n]
    d.fill_(float("nan"))
    return Operands(a, b, d, **beside)


def normal(problem: Problem, shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    made, dtype = torch.randn(shape, generator=generator), torch_dtype(problem.dtype)
    return quantized(made * DTYPES[problem.dtype].sigma, dtype) if dtype.itemsize == 1 else made


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
        chosen.append(
            Config.of(family.name, {axis.name: axis.values[index % len(axis.values)] for axis in family.axes})
        )
    chosen += [
        Config.of(family.name, {axis.name: chance.choice(axis.values) for axis in family.axes}) for _ in range(2)
    ]
    return list(dict.fromkeys(chosen))


def calls(family: Family) -> Iterator[tuple[Problem, Form, Config]]:
    """Every shape in every layout, and two of them in every form. Dtypes and configs take turns, and so do the shapes
    of epilogues, and the layouts of operands of one byte.
    """
    configs_in_turn = itertools.cycle(configs(family))
    dtypes_in_turn = itertools.cycle(("fp16", "fp32", "fp32", "fp16"))
    dense = itertools.product(SHAPES, LAYOUTS, FORMS[:1])
    for (m, n, k), layout, form in itertools.chain(dense, itertools.product(SHAPES_IN_FORMS, LAYOUTS, FORMS[1:])):
        config, dtype = next(configs_in_turn), next(dtypes_in_turn)
        out_dtype = "fp32" if config.number("num_warps") == 4 else ""
        yield Problem(m, n, k, dtype, layout, out_dtype), form, config
    one_product = fused.ONE_PRODUCT in family.constraints
    ragged, whole = SHAPES_IN_FORMS  # no family that moves tiles by TMA takes the first
    steps = (*((whole, epilogue) for epilogue in EPILOGUES), *((ragged, epilogue) for epilogue in EPILOGUES[::3]))
    for (m, n, k), epilogue in steps:
        if one_product and "up" in steps_of(epilogue):
            continue
        config, dtype = next(configs_in_turn), next(dtypes_in_turn)
        yield Problem(m, n, k, dtype, epilogue=epilogue), Form("padded rows", padding=8, margin=8), config
    layouts = itertools.cycle(("tn", "nn", "tt"))
    for ((m, n, k), dtype), own in itertools.product(itertools.product(SHAPES_IN_FORMS, ONE_BYTE), (True, False)):
        layout = "nt" if own else next(layouts)
        form = Form("padded rows", padding=16, margin=16)
        yield Problem(m, n, k, dtype, layout, "fp32", "row_scale+column_scale"), form, next(configs_in_turn)


def wrong(asked: Call, given: Operands, config: Config) -> str:
    """What is wrong with the result of one call, or why it is not taken."""
    family = FAMILIES[config.family]
    refused = family.refuses(asked, config)
    if refused:
        return REFUSED + refused
    launch = family.bind(asked, config)
    launch()
    check = compare(asked.d, reference(asked.problem, given))
    if not check.passed:
        return str(check)
    if not surroundings_hold(asked.d):
        return "something was written beside D"
    if config.get("split", 1) == 1 and not config.get("programs_per_sm", 0):
        return ""
    first = asked.d.clone()
    asked.d.fill_(float("nan"))
    launch()
    return "" if torch.equal(first, asked.d) else "a repeat differs"


def main(name: str) -> None:
    family = FAMILIES[name]
    taken = Counter[str]()
    generator, scratch = torch.Generator().manual_seed(1), Scratch("cpu")
    for problem, form, config in calls(family):
        if 0 in problem.shape and family.space(problem, DEVICE).rejection(config) is None:
            print(f"{problem} {config}: an empty product is not rejected")
        given = operands(problem, form, generator)
        found = wrong(call(problem, DEVICE, given, scratch), given, config)
        if found.startswith(REFUSED):
            taken["refused"] += 1
            found = "" if SENTENCE.fullmatch(found) else found
        else:
            taken.update(
                [
                    form.name,
                    *steps_of(problem.epilogue),
                    problem.dtype,
                    problem.layout,
                    *map("{0[0]}={0[1]}".format, config.items()),
                ]
            )
        if found:
            print(f"{problem}, {form.name}, {config}: {found}")
    print(json.dumps(taken), file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1])
