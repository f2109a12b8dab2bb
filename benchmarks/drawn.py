"""Random problems for a family: shapes, forms in memory, and configs out of a few that are compiled ahead."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from tilewright.kernels.access import Access, Accesses
from tilewright.kernels.config import Config
from tilewright.kernels.device import Device
from tilewright.kernels.epilogue import ORDER
from tilewright.kernels.family import Family
from tilewright.kernels.problem import DTYPES, LAYOUTS, OUT_DTYPES, Problem

# The least and the greatest m, n and k of a class of shapes.
SHAPES: Final = {
    "tiny": ((1, 48), (1, 48), (1, 48)),
    "ragged": ((1, 700), (1, 700), (1, 1500)),
    "few rows": ((1, 64), (1, 4096), (1, 8192)),
    "one row": ((1, 1), (1, 2000), (1, 4000)),
    "deep": ((1, 160), (1, 160), (1 << 13, 1 << 18)),
    "flat": ((500, 3500), (500, 3500), (1, 160)),
    "tall": ((2000, 40000), (1, 96), (1, 128)),
    "wide": ((1, 96), (2000, 40000), (1, 128)),
    "middling": ((129, 1500), (129, 1500), (1, 1500)),
    "long": ((65, 290), (65, 290), (8192, 24000)),
}
SMALL: Final = ("tiny", "ragged", "long")  # some families take long sums alone
LARGEST: Final = 1 << 31  # m * n * k: the reference in fp64 takes a tenth of a millisecond
WHOLE: Final = 8  # elements: whole vectors of 16 bits; every other time twice as many
MARGIN: Final = 64  # elements before and behind a matrix
FAR: Final = (1 << 31) + (1 << 28)  # elements between the first row and the last: offsets beyond 32 bits
ALIGNED: Final = ("dense", "padded")
FORMS: Final = (*ALIGNED, "offset", "spread", "repeated")
RESULT_FORMS: Final = (*ALIGNED, "offset", "spread", "columns")
TRIES: Final = 400  # shapes drawn until one runs a kind's machine code
POINTS: Final = 60  # of a space, drawn until one is valid


@dataclass(frozen=True, slots=True)
class Place:
    """Where a matrix lies in a flat memory of `size` elements."""

    shape: tuple[int, int]
    strides: tuple[int, int]
    first: int
    size: int

    def access(self, element_bytes: int) -> Access:
        return Access.at(self.shape, self.strides, element_bytes, address=self.first * element_bytes)


def place(rows: int, columns: int, transposed: bool, form: str) -> Place:
    """Of a matrix that is stored row after row, or transposed.

    `padded` has longer rows, `offset` an odd start and odd rows, `spread` no unit stride, `repeated` one row only,
    `columns` is stored transposed once more, and `far` has rows as far apart as `FAR` lets them.
    """
    if transposed or form == "columns":
        turned = place(columns, rows, False, "padded" if form == "columns" else form)
        return replace(turned, shape=(rows, columns), strides=(turned.strides[1], turned.strides[0]))
    leading, step, first = {
        "dense": (columns, 1, MARGIN),
        "padded": (-(-columns // 16) * 16 + 16, 1, MARGIN),
        "offset": (columns + 3, 1, MARGIN + 1),
        "spread": (2 * columns + 5, 2, MARGIN),
        "repeated": (0, 1, MARGIN),
        "far": (max(FAR // max(rows - 1, 1), columns + 16) // 16 * 16, 1, MARGIN),
    }[form]
    return Place((rows, columns), (leading, step), first, first + leading * (rows - 1) + step * columns + MARGIN)


@dataclass(frozen=True, slots=True)
class Draw:
    """A problem, the config that is to compute it, and how A, B and D lie; `special` has infinities and NaN in it."""

    problem: Problem
    config: Config
    forms: tuple[str, str, str]
    shape: str
    special: bool = False

    def places(self) -> tuple[Place, Place, Place]:
        m, n, k = self.problem.shape
        form_a, form_b, form_d = self.forms
        return (
            place(m, k, self.problem.a_transposed, form_a),
            place(k, n, self.problem.b_transposed, form_b),
            place(m, n, False, form_d),
        )

    def accesses(self) -> Accesses:
        a, b, d = self.places()
        size, out_size = DTYPES[self.problem.dtype].bytes, DTYPES[self.problem.out_dtype].bytes
        return Accesses(a.access(size), b.access(size), d.access(out_size))

    def __str__(self) -> str:
        special = ", infinities and NaN" if self.special else ""
        return f"{self.config} on {self.problem}, A {self.forms[0]}, B {self.forms[1]}, D {self.forms[2]}{special}"


def key(family: Family, device: Device, draw: Draw) -> object:
    """Equal keys run the same machine code."""
    if family.binary is None:
        return family.name, replace(draw.problem, m=1, n=1, k=1), draw.forms
    return family.binary(draw.problem, device, draw.config, draw.accesses()).key


def kinds(family: Family, device: Device, *, seed: int, count: int, shapes: Sequence[str]) -> list[Draw]:
    """Draws of which each stands for all that run its machine code: half of them as vectors and TMA want it."""
    chance, found = random.Random(f"{seed}:{family.name}"), dict[object, Draw]()
    for attempt in range(160 * count):
        whole = attempt % 2 == 0
        dtype, layout, out_dtype = chance.choice(list(DTYPES)), chance.choice(LAYOUTS), chance.choice(("", *OUT_DTYPES))
        forms = _forms(chance, whole)
        shape = chance.choice(shapes)
        m, n, k = _extents(chance, shape, (whole, whole, whole))
        problem = Problem(m, n, k, dtype, layout, out_dtype, _epilogue(chance))
        config = _point(chance, family, problem, device)
        if all_alike(problem, forms):
            forms = (forms[0], "offset", forms[2])
        if config is not None:
            draw = Draw(problem, config, forms, shape)
            found.setdefault(key(family, device, draw), draw)
        if len(found) == count:
            break
    return list(found.values())


def draw_of(
    family: Family, device: Device, known: Sequence[Draw], seed: int, index: int, shapes: Sequence[str]
) -> Draw:
    """The draw of an index: another problem for the machine code of one of the kinds."""
    chance = random.Random(f"{seed}:{family.name}:{index}")
    kind = chance.choice(known)
    wanted, whole = key(family, device, kind), tuple(extent % WHOLE == 0 for extent in kind.problem.shape)
    special = chance.random() < 0.15
    for _ in range(TRIES):
        shape = chance.choice(shapes)
        m, n, k = _extents(chance, shape, whole)
        problem = replace(kind.problem, m=m, n=n, k=k)
        forms = _far(chance, kind.forms) if shapes != SMALL else kind.forms
        draw = Draw(problem, kind.config, forms, shape, special)
        if kind.config in family.space(problem, device) and key(family, device, draw) == wanted:
            return draw
    return replace(kind, special=special)


def seed_of(family: Family, seed: int, index: int) -> int:
    """Of the operands."""
    return zlib.crc32(f"{seed}:{family.name}:{index}".encode())


def _forms(chance: random.Random, whole: bool) -> tuple[str, str, str]:
    if whole:
        return chance.choice(ALIGNED), chance.choice(ALIGNED), chance.choice(ALIGNED)
    return chance.choice(FORMS), chance.choice(FORMS), chance.choice(RESULT_FORMS)


def all_alike(problem: Problem, forms: Sequence[str]) -> bool:
    """Whether a sum is of one product k times, and its operands or partial sums are rounded: all in one direction.

    No bound that could tell right from wrong holds then. A sum of fp8 ends where a product is less than it is cut off
    at: 32,768 in place of 64,543 after 16,392 products, by `tiled` without promotion (H200, 2026-11).
    """
    rounded = problem.dtype == "tf32" or DTYPES[problem.dtype].storage.startswith("float8")
    return rounded and problem.layout == "tn" and forms[0] == forms[1] == "repeated"


def _far(chance: random.Random, forms: tuple[str, str, str]) -> tuple[str, str, str]:
    """Now and then A or B with rows far apart, which is the same to a compiled kernel as padded rows."""
    which = chance.randrange(60)
    if which < 2 and forms[which] == "padded":
        return ("far", forms[1], forms[2]) if which == 0 else (forms[0], "far", forms[2])
    return forms


def _extents(chance: random.Random, shape: str, whole: tuple[bool, ...]) -> tuple[int, int, int]:
    while True:
        drawn = [chance.randint(*limits) for limits in SHAPES[shape]]
        step = chance.choice((WHOLE, 2 * WHOLE))
        m, n, k = (-(-one // step) * step if even else one for one, even in zip(drawn, whole, strict=True))
        if m * n * k <= LARGEST:
            return m, n, k


def _epilogue(chance: random.Random) -> str:
    if chance.random() < 0.4:
        return ""
    return "+".join(chance.choice(group) for group in ORDER if chance.random() < 0.5)


def _point(chance: random.Random, family: Family, problem: Problem, device: Device) -> Config | None:
    space = family.space(problem, device)
    for _ in range(POINTS):
        config = Config.of(family.name, {axis.name: chance.choice(axis.values) for axis in family.axes})
        if config in space:
            return config
    return None
