"""The assembly of `clustered`: text for one form of a tile, in the instructions of the PTX ISA.

Numbers that a kernel hands over are $1, $2 and so on, in the order of the function in `ptx` that takes the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from .form import Copy, Form, Operand

BARRIER_BYTES: Final = 8
# The kernel's parameters that are tensor maps: each descriptor is a map, two extents and two strides.
MAPS: Final = MappingProxyType({"a": 0, "b": 5})


@dataclass(frozen=True, slots=True)
class Assembly:
    """What is compiled into a kernel of a form. It is a constant of the kernel, so that Triton's cache knows it.

    Attributes:
        start, load, multiply: see the functions of these names.
        accumulators, multiplied: the constraints of assembly that changes a tile's parts, alone or with three numbers.
    """

    start: str
    load: str
    multiply: str
    accumulators: str
    multiplied: str


def assembly(form: Form, kernel: str) -> Assembly:
    """For a kernel of that name, whose first two parameters are the descriptors of A and B."""
    return Assembly(
        _start(form, kernel), _load(form, kernel), _multiply(form), _accumulators(form, 0), _accumulators(form, 3)
    )


def _start(form: Form, kernel: str) -> str:
    ring = form.stages * form.stage_bytes
    full = [f"mbarrier.init.shared::cta.b64 [at+{BARRIER_BYTES * stage}], 1;" for stage in range(form.stages)]
    empty = [
        f"mbarrier.init.shared::cta.b64 [at+{BARRIER_BYTES * (form.stages + stage)}], {form.consumers * form.cluster};"
        for stage in range(form.stages)
    ]
    fetched = [
        f"mov.b64 map, {kernel}_param_{place}; cvta.param.u64 map, map; prefetch.tensormap [map];"
        for place in MAPS.values()
    ]
    return f"""{{
        .reg .pred other;
        .reg .b32 thread, at;
        .reg .b64 map;
        mov.u32 thread, %tid.x;
        setp.ne.u32 other, thread, 0;
        @other bra STARTED;
        mov.u32 at, global_smem;
        add.u32 at, at, {ring};
        {" ".join([*full, *empty])}
        fence.mbarrier_init.release.cluster;
        {" ".join(fetched)}
        STARTED: mov.u32 $0, 0;
    }}"""


def _copies(name: str, operand: Operand, base: int, first: str, rank: str) -> list[str]:
    """The requests for one operand. $1 is the stage, $2 the step of k, $5 the barrier; `first`, its row or column."""
    shared = operand.sharers > 1
    lines = [f"mul.lo.u32 moved, {rank}, {operand.share};"] if shared else []

    def request(copy: Copy) -> str:
        found = f"add.s32 at, $1, {base + copy.offset}; add.s32 along, $2, {copy.along_k};"
        found += f" add.s32 across, {first}, {copy.across};"
        if shared:
            moved = "across" if operand.k_major else "along"
            found += (
                f" mad.lo.u32 at, {rank}, {operand.share * operand.row_bytes}, at; add.s32 {moved}, {moved}, moved;"
            )
        inner, outer = ("along", "across") if operand.k_major else ("across", "along")
        kind, mask = (".multicast::cluster", ", mask") if shared else ("", "")
        return (
            f"{found} @chosen cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes{kind} "
            f"[at], [{name}_map, {{{inner}, {outer}}}], [$5]{mask};"
        )

    return lines + [request(copy) for copy in operand.copies]


def _load(form: Form, kernel: str) -> str:
    a, b = form.a, form.b
    across = sum(1 << form.cluster_m * other for other in range(form.cluster_n))  # programs that share rows of A
    down = (1 << form.cluster_m) - 1  # that share columns of B
    lines = [f"mov.u32 some, {across}; shl.b32 some, some, rank_m; cvt.u16.u32 mask, some;"]
    lines += _copies("a", a, 0, "$3", "rank_n")
    lines += [f"mul.lo.u32 some, rank_n, {form.cluster_m}; shl.b32 some, {down}, some; cvt.u16.u32 mask, some;"]
    lines += _copies("b", b, a.bytes, "$4", "rank_m")
    maps = [
        f"mov.b64 {name}_map, {kernel}_param_{at}; cvta.param.u64 {name}_map, {name}_map;" for name, at in MAPS.items()
    ]
    body = "\n".join((*maps, *lines))
    return f"""{{
        .reg .pred other, over, chosen;
        .reg .b32 thread, at, along, across, some, moved, rank_m, rank_n;
        .reg .b64 a_map, b_map;
        .reg .b16 mask;
        mov.u32 thread, %tid.x;
        and.b32 thread, thread, 127;
        setp.ge.u32 other, thread, 32;
        @other bra LOADED;
        AGAIN: mbarrier.try_wait.parity.shared::cta.b64 over, [$6], $7;
        @!over bra.uni AGAIN;
        elect.sync _|chosen, 0xffffffff;
        @chosen mbarrier.arrive.expect_tx.shared::cta.b64 _, [$5], {form.stage_bytes};
        rem.u32 rank_m, $8, {form.cluster_m};
        div.u32 rank_n, $8, {form.cluster_m};
        {body}
        LOADED: mov.u32 $0, 0;
    }}"""


def _multiply(form: Form) -> str:
    count = form.parts * form.registers
    sums = ", ".join(f"${at}" for at in range(count))
    left, right, used = (f"${2 * count + argument * form.registers}" for argument in range(3))
    a, b = form.a, form.b
    (a_low, a_high), (b_low, b_high) = a.descriptor, b.descriptor
    if form.kind == "s8":
        name, flags = f"m64n{form.block_n}k32.s32.s8.s8", ""
    else:
        name, flags = f"m64n{form.block_n}k{32 // form.size}.f32.{form.kind}.{form.kind}", ", 1, 1"
        flags += f", {int(not form.a_k_major)}, {int(not form.b_k_major)}" if form.size == 2 else ""
    lines = [
        f"""add.s32 low, left, {a.units_to(step)}; mov.b64 a, {{low, {a_high}}};
            add.s32 low, right, {b.units_to(step)}; mov.b64 b, {{low, {b_high}}};
            wgmma.mma_async.sync.aligned.{name} {{{sums}}}, a, b, {"1" if step else "used"}{flags};"""
        for step in range(form.multiplications)
    ]
    body = "\n".join(lines)
    # In a cluster the upper bits of an address say whose shared memory it is in.
    return f"""{{
            .reg .pred used;
            .reg .b64 a, b;
            .reg .b32 left, right, low;
            setp.ne.b32 used, {used}, 0;
            bfe.u32 left, {left}, 4, 14; add.s32 left, left, {a_low};
            bfe.u32 right, {right}, 4, 14; add.s32 right, right, {b_low};
            wgmma.fence.sync.aligned;
            {body}
            wgmma.commit_group.sync.aligned;
            wgmma.wait_group.sync.aligned {0 if form.promoted else form.in_flight};
        }}"""


def _accumulators(form: Form, others: int) -> str:
    """The constraints of assembly that changes a tile's parts and takes so many numbers beside."""
    count = form.parts * form.registers
    kind = "=r" if form.kind == "s8" else "=f"
    return ",".join([*[kind] * count, *map(str, range(count)), *["r"] * (others * form.registers)])
