"""`clustered`: what the assembly asks TMA for is a stage, byte for byte, and what wgmma is told to read is where it is.

The assembly itself is run here, instruction by instruction: every program of a cluster asks, and what all of them are
sent is held against how the PTX ISA says that an operand lies in shared memory.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from tilewright.kernels.families import FAMILIES
from tilewright.kernels.families.assembly import Assembly, assembly
from tilewright.kernels.families.form import ATOM, PANEL_BYTES, ROWS, SWIZZLES, UNIT, Form, Operand

WIDTHS: Final = next(axis.values for axis in FAMILIES["clustered"].axes if axis.name == "block_n")
BOX_AT_MOST: Final = 256  # elements along each extent. Source: CUDA driver API, cuTensorMapEncodeTiled
STAGE: Final = 1 << 16  # address and step of k, as a kernel may hand them over
STEP: Final = 4096
KINDS: Final = {1: "e4m3", 2: "bf16"}
ORDERS: Final = [(2, a, b) for a in (True, False) for b in (True, False)] + [(1, True, True)]  # bytes, A and B K-major
CLUSTERS: Final = ((1, 1), (2, 1), (1, 2), (2, 2))  # the last is written, though no space has it
COPY: Final = re.compile(
    r"cp\.async\.bulk\.tensor\.2d\.shared::cluster\.global\.mbarrier::complete_tx::bytes(\.multicast::cluster)? "
    r"\[at\], \[(a|b)_map, \{(\w+), (\w+)\}\], \[\$5\](?:, (mask))?"
)
OPERATIONS: Final[dict[str, Callable[..., int]]] = {
    "mov.u32": lambda x: x,
    "cvt.u16.u32": lambda x: x & 0xFFFF,
    "shl.b32": lambda x, by: x << by,
    "add.s32": lambda x, y: x + y,
    "mul.lo.u32": lambda x, y: x * y,
    "mad.lo.u32": lambda x, y, z: x * y + z,
    "rem.u32": lambda x, y: x % y,
    "div.u32": lambda x, y: x // y,
}

Place = tuple[str, int, int]  # operand; the first element of a row of shared memory: across k, along k


def forms(size: int, a_k_major: bool, b_k_major: bool, cluster: tuple[int, int]) -> Iterator[Form]:
    """Of every height, width and step."""
    for block_m, block_n, panels in itertools.product((ROWS, 2 * ROWS), WIDTHS, (1, 2)):
        block_k = panels * PANEL_BYTES // size
        yield Form(KINDS[size], size, block_m, int(block_n), block_k, 3, *cluster, a_k_major, b_k_major, 0, False)


def first_of(form: Form, rank: int) -> tuple[int, int]:
    """The first row and column of a program's tile: a cluster goes down D, then across."""
    return 1000 * (rank % form.cluster_m), 5000 + 1000 * (rank // form.cluster_m)


def sent(form: Form, text: Assembly, rank: int) -> Iterator[tuple[int, int, Place]]:
    """What a program asks for, row of shared memory by row: (receiver, byte of its stage, what)."""
    row, column = first_of(form, rank)
    known = {"$1": STAGE, "$2": STEP, "$3": row, "$4": column, "$8": rank}

    def value(name: str) -> int:
        return known[name] if name in known else int(name)

    lines = [line.strip().removeprefix("@chosen ") for line in text.load.split(";")]
    for line in lines[next(at for at, one in enumerate(lines) if one.startswith("rem.u32")) :]:
        operation, _, rest = line.partition(" ")
        if operation in OPERATIONS:
            into, *given = rest.split(", ")
            known[into] = OPERATIONS[operation](*map(value, given))
        elif found := COPY.fullmatch(line):
            multicast, name, inner, outer, mask = found.groups()
            assert bool(multicast) == bool(mask)
            operand = form.a if name == "a" else form.b
            receivers = [one for one in range(form.cluster) if known["mask"] >> one & 1] if mask else [rank]
            for receiver, at in itertools.product(receivers, range(operand.box[0])):
                across, along = (
                    (known[outer] + at, known[inner]) if operand.k_major else (known[inner], known[outer] + at)
                )
                yield receiver, known["at"] - STAGE + at * operand.row_bytes, (name, across, along - STEP)
        else:
            assert operation in ("mov.b64", "cvta.param.u64", "LOADED:", "}"), line


def expected(form: Form, rank: int) -> dict[int, Place]:
    """What has to lie in a program's stage: where a row of a panel begins -> its first element."""
    found: dict[int, Place] = {}
    for name, operand, first, base in zip("ab", (form.a, form.b), first_of(form, rank), (0, form.a.bytes), strict=True):
        inner = operand.row_bytes // operand.size
        for across, along in itertools.product(range(operand.extent), range(operand.block_k)):
            if (along if operand.k_major else across) % inner == 0:
                found[base + address(operand, across, along)] = (name, first + across, along)
    return found


def address(operand: Operand, across: int, along: int) -> int:
    """The byte of a tile at which an element would lie if nothing were swizzled."""
    row, within = (across, along) if operand.k_major else (along, across)
    rows = operand.extent if operand.k_major else operand.block_k
    panel, element = divmod(within, operand.row_bytes // operand.size)
    return (panel * rows + row) * operand.row_bytes + element * operand.size


@pytest.mark.parametrize(("size", "a_k_major", "b_k_major"), ORDERS)
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_cluster_is_sent_each_byte_of_its_stages_once(
    size: int, a_k_major: bool, b_k_major: bool, cluster: tuple[int, int]
) -> None:
    for form in forms(size, a_k_major, b_k_major, cluster):
        text = assembly(form, "kernel")
        assert f"expect_tx.shared::cta.b64 _, [$5], {form.stage_bytes};" in text.load
        received = [one for rank in range(form.cluster) for one in sent(form, text, rank)]
        assert set(Counter((receiver, at) for receiver, at, _ in received).values()) == {1}, form
        for rank in range(form.cluster):
            assert {at: what for receiver, at, what in received if receiver == rank} == expected(form, rank), form


@pytest.mark.parametrize(("size", "a_k_major", "b_k_major"), ORDERS)
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_request_is_one_that_tma_takes(size: int, a_k_major: bool, b_k_major: bool, cluster: tuple[int, int]) -> None:
    """And a share ends where the swizzling begins again: what it does to a byte depends on its address alone."""
    for form in forms(size, a_k_major, b_k_major, cluster):
        for operand in (form.a, form.b):
            assert 1 <= operand.box[0] <= BOX_AT_MOST
            assert operand.box[1] * size == operand.row_bytes
            assert operand.row_bytes in SWIZZLES
            assert operand.share % ATOM == 0
            assert operand.share * operand.sharers * len(operand.copies) * operand.row_bytes == operand.bytes


@pytest.mark.parametrize(("size", "a_k_major", "b_k_major"), ORDERS)
def test_tensor_cores_read_what_was_sent(size: int, a_k_major: bool, b_k_major: bool) -> None:
    """The strides of a matrix descriptor and the beginnings of operands are distances between elements."""
    for form in forms(size, a_k_major, b_k_major, (1, 1)):
        steps = form.block_k * size // 32
        assert form.multiplications == steps
        assert form.a.rows_at(ROWS) == form.rows_bytes
        if form.consumers == 2:
            assert form.rows_bytes == address(form.a, ROWS, 0)
        for operand in (form.a, form.b):
            low, high = operand.descriptor
            leading, stride, swizzle = low >> 16 << 4, (high & 0x3FFF) << 4, high >> 30
            eighth = (ATOM, 0) if operand.k_major else (0, ATOM)
            assert stride == address(operand, *eighth)
            assert swizzle == SWIZZLES.get(operand.row_bytes, 0)
            if not operand.k_major and operand.extent > operand.width:
                assert leading == address(operand, operand.width, 0)
            assert [operand.units_to(step) * UNIT for step in range(steps)] == [
                address(operand, 0, step * 32 // size) for step in range(steps)
            ]


def test_a_tile_is_parts_of_a_power_of_two() -> None:
    for form in forms(2, True, True, (1, 1)):
        assert form.parts * form.width == form.block_n
        assert form.width & (form.width - 1) == 0
        text = assembly(form, "kernel")
        assert text.accumulators.count("=f") == form.block_n // 2  # of 64 rows, a warp group's thread holds so many
        assert text.multiply.count(f"m64n{form.block_n}k16") == form.multiplications
