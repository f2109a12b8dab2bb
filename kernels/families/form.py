"""How a tile of `clustered` is cut: what lies where in shared memory, who of a cluster fetches it, how it is read.

A stage holds a tile of A and, behind it, one of B. Each is panels as TMA writes and tensor cores (wgmma) read them:
rows of at most 128 bytes, swizzled. Where k has the unit stride (K-major), a panel is 128 bytes of k wide and holds all
rows of A, or columns of B; otherwise it is some rows of A, or columns of B, wide and holds the whole step of k.

Offsets follow the PTX ISA, "Matrix descriptor" of wgmma: units of 16 bytes, 14 bits each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ROWS: Final = 64  # of D, that one warp group multiplies at once
GROUP_THREADS: Final = 128  # of a warp group
PANEL_BYTES: Final = 128
UNIT: Final = 16  # bytes, in a matrix descriptor
ATOM: Final = 8  # rows after which the swizzling begins again
SWIZZLES: Final = {128: 1, 64: 2, 32: 3}  # bytes of a row in a panel -> its name in a matrix descriptor; 0 is none
DEPTH_BYTES: Final = 32  # of k, in one multiplication
TURNS: Final = 4  # of which the last sum is waited for; k is padded with zeros to as many stages
WIDEST: Final = 64  # columns of D in a part of a tile: its accumulator is a tensor, whose extents are powers of two


@dataclass(frozen=True, slots=True)
class Copy:
    """One request to TMA: where in the stage it writes (bytes), and where in the tile it reads (elements)."""

    offset: int
    across: int
    along_k: int


@dataclass(frozen=True, slots=True)
class Operand:
    """A's or B's tile in a stage.

    Attributes:
        extent: rows of A, or columns of B.
        block_k: steps of k.
        size: bytes of an element.
        k_major: whether k has the unit stride.
        width: elements of a panel across k, where k has not.
        sharers: programs of a cluster that multiply with this same tile; each fetches its share for all of them.
    """

    extent: int
    block_k: int
    size: int
    k_major: bool
    width: int
    sharers: int

    @property
    def bytes(self) -> int:
        return self.extent * self.block_k * self.size

    @property
    def row_bytes(self) -> int:
        """Of a panel."""
        return PANEL_BYTES if self.k_major else self.width * self.size

    @property
    def panel_bytes(self) -> int:
        return self.row_bytes * (self.extent if self.k_major else self.block_k)

    @property
    def share(self) -> int:
        """Rows of each panel that one program fetches."""
        return (self.extent if self.k_major else self.block_k) // self.sharers

    @property
    def box(self) -> tuple[int, int]:
        """The extents of one request, outer first."""
        return self.share, self.row_bytes // self.size

    @property
    def copies(self) -> tuple[Copy, ...]:
        """Of the first of the sharers. Another one's begin `share` rows of a panel later for each before it."""
        wide = self.row_bytes // self.size
        count = (self.block_k if self.k_major else self.extent) // wide
        return tuple(
            Copy(part * self.panel_bytes, 0 if self.k_major else part * wide, part * wide if self.k_major else 0)
            for part in range(count)
        )

    def rows_at(self, rows: int) -> int:
        """Where the tile's rows from that one on begin, in bytes; of A, a multiple of 64."""
        return rows * PANEL_BYTES if self.k_major else rows // self.width * self.panel_bytes

    @property
    def descriptor(self) -> tuple[int, int]:
        """(low word without the address, high word) of a matrix descriptor."""
        leading = 0 if self.k_major else self.panel_bytes // UNIT
        return leading << 16, SWIZZLES.get(self.row_bytes, 0) << 30 | ATOM * self.row_bytes // UNIT

    def units_to(self, step: int) -> int:
        """Where the operand of that multiplication of a stage begins."""
        if not self.k_major:
            return step * (DEPTH_BYTES // self.size) * self.row_bytes // UNIT
        panel, within = divmod(step * DEPTH_BYTES, PANEL_BYTES)
        return (panel * self.panel_bytes + within) // UNIT


@dataclass(frozen=True, slots=True)
class Form:
    """All that is compiled into a kernel of `clustered` beside its epilogue.

    Attributes:
        kind: of the operands, as PTX names them: bf16, f16, e4m3, e5m2 or s8.
        size: bytes of an element.
        block_m, block_n, block_k, stages: of the ring.
        cluster_m, cluster_n: programs of a cluster, down and across D.
        a_k_major, b_k_major: whether k has the unit stride.
        in_flight: multiplications that may be under way when the next stage is waited for.
        promoted: whether each stage's sum is added to the total in fp32; with one in flight, while the next multiplies.
    """

    kind: str
    size: int
    block_m: int
    block_n: int
    block_k: int
    stages: int
    cluster_m: int
    cluster_n: int
    a_k_major: bool
    b_k_major: bool
    in_flight: int
    promoted: bool

    @property
    def turns(self) -> int:
        """Stages in one turn of a consumer's loop: several where their sums are in two sets of registers in turn."""
        return TURNS if self.promoted and self.in_flight else 1

    @property
    def stride_k(self) -> int:
        """Of k in one turn of the loop."""
        return self.block_k * self.turns

    @property
    def consumers(self) -> int:
        return self.block_m // ROWS

    @property
    def cluster(self) -> int:
        return self.cluster_m * self.cluster_n

    @property
    def width(self) -> int:
        """Columns of a part of the tile."""
        return part_width(self.block_n)

    @property
    def parts(self) -> int:
        return self.block_n // self.width

    @property
    def a(self) -> Operand:
        return Operand(self.block_m, self.block_k, self.size, self.a_k_major, ROWS, self.cluster_n)

    @property
    def b(self) -> Operand:
        return Operand(self.block_n, self.block_k, self.size, self.b_k_major, self.width, self.cluster_m)

    @property
    def a_bytes(self) -> int:
        return self.a.bytes

    @property
    def stage_bytes(self) -> int:
        return self.a.bytes + self.b.bytes

    @property
    def rows_bytes(self) -> int:
        """From one consumer's rows of A to the next one's."""
        return self.a.rows_at(ROWS)

    @property
    def registers(self) -> int:
        """Of a part's accumulator in a thread."""
        return self.width // 2

    @property
    def multiplications(self) -> int:
        """Of a stage."""
        return self.block_k * self.size // DEPTH_BYTES


def part_width(block_n: int) -> int:
    """The largest power of two that divides a tile's columns, up to 64."""
    return min(WIDEST, block_n & -block_n)
