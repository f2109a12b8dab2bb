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
        start, load, multiply, multiply_alone, multiply_and_add, settle_and_add: see the functions in `ptx`.
        accumulators, multiplied: the constraints of assembly that changes a tile's parts, alone or with three numbers.
        multiplied_and_added, settled_and_added: of assembly that adds other sums to the parts, and that multiplies.
    """

    start: str
    load: str
    multiply: str
    multiply_alone: str
    multiply_and_add: str
    settle_and_add: str
    accumulators: str
    multiplied: str
    multiplied_and_added: str
    settled_and_added: str


def assembly(form: Form, kernel: str) -> Assembly:
    """For a kernel of that name, whose first two parameters are the descriptors of A and B."""
    count = form.parts * form.registers
    number = ["r"] * form.registers  # a number of a call, as often as there are registers in a part
    register = "r" if form.kind == "s8" else "f"
    written, read = [f"={register}"] * count, [register] * count
    parts, parts_behind = [str(at) for at in range(count)], [str(count + at) for at in range(count)]
    return Assembly(
        start=_start(form, kernel),
        load=_load(form, kernel),
        multiply=_multiply(form),
        multiply_alone=_multiply_beside(form, adds=False),
        multiply_and_add=_multiply_beside(form, adds=True),
        settle_and_add=f"wgmma.wait_group.sync.aligned 0; {_add(count, 0, 2 * count)}",
        accumulators=",".join([*written, *parts]),
        multiplied=",".join([*written, *parts, *number * 3]),
        # What is multiplied into (&) shares no register with what is read when the multiplication has begun.
        multiplied_and_added=",".join([f"=&{register}"] * count + [*written, *parts_behind, *read, *number * 2]),
        settled_and_added=",".join([*written, *parts, *read]),
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
    """Into the parts, which count where the third number is not 0."""
    count = form.parts * form.registers
    left, right, used = (f"${2 * count + argument * form.registers}" for argument in range(3))
    return f"""{{
            .reg .pred used;
            setp.ne.b32 used, {used}, 0;
            {_products(form, left, right, "used")}
            wgmma.wait_group.sync.aligned {0 if form.promoted else form.in_flight};
        }}"""


def _multiply_beside(form: Form, *, adds: bool) -> str:
    """Into the first registers, alone. To the second ones, the parts, are added those of the third argument, which are
    read when they are done: a register that is multiplied into may not even be moved."""
    count = form.parts * form.registers
    left, right = (f"${4 * count + argument * form.registers}" for argument in range(2))
    added = f"wgmma.wait_group.sync.aligned 1; {_add(count, count, 3 * count)}" if adds else ""
    return f"""{{
            {_products(form, left, right, "0")}
            {added}
        }}"""


def _add(count: int, to: int, others: int) -> str:
    return " ".join(f"add.rn.f32 ${to + at}, ${to + at}, ${others + at};" for at in range(count))


def _products(form: Form, left: str, right: str, used: str) -> str:
    """Begins the multiplications of a stage into the first registers, whose contents count where `used` is true."""
    sums = ", ".join(f"${at}" for at in range(form.parts * form.registers))
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
            wgmma.mma_async.sync.aligned.{name} {{{sums}}}, a, b, {"1" if step else used}{flags};"""
        for step in range(form.multiplications)
    ]
    body = "\n".join(lines)
    # In a cluster the upper bits of an address say whose shared memory it is in.
    return f""".reg .b64 a, b;
            .reg .b32 left, right, low;
            bfe.u32 left, {left}, 4, 14; add.s32 left, left, {a_low};
            bfe.u32 right, {right}, 4, 14; add.s32 right, right, {b_low};
            wgmma.fence.sync.aligned;
            {body}
            wgmma.commit_group.sync.aligned;"""
