"""Instructions of Hopper that Gluon of Triton 3.6 has no name for: clusters, TMA to several programs, wide wgmma.

Shared memory is addressed by number here. What a kernel so uses is its largest allocation, which Triton puts at the
beginning (tests/kernels/test_compile.py looks). The text of longer pieces is in `assembly`.
"""

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl


@gluon.constexpr_function
def of(value, name):
    """An attribute of a constant, in a kernel."""
    return getattr(value, name)


@gluon.constexpr_function
def repeated(value, count):
    return (value,) * count


@gluon.jit
def read(ASSEMBLY: gl.constexpr):
    """What `ASSEMBLY` puts into $0."""
    return gl.inline_asm_elementwise(ASSEMBLY, "=r", [], dtype=gl.int32, is_pure=True, pack=1)


@gluon.jit
def shared_memory():
    """The address at which the program's shared memory begins."""
    return read("mov.u32 $0, global_smem;")


@gluon.jit
def rank_in_cluster():
    return read("mov.u32 $0, %cluster_ctarank;")


@gluon.jit
def start(TEXT: gl.constexpr):
    """Barriers behind the ring: of each stage one that counts bytes (`full`), then one that counts the consumers of the
    whole cluster (`empty`)."""
    gl.inline_asm_elementwise(of(TEXT, "start"), "=r", [], dtype=gl.int32, is_pure=False, pack=1)


@gluon.jit
def meet(FORM: gl.constexpr):
    """All threads of a cluster wait for each other. Every partition comes here, with whole warp groups alone."""
    if of(FORM, "cluster") > 1:
        gl.inline_asm_elementwise(
            "barrier.cluster.arrive.relaxed; barrier.cluster.wait; mov.u32 $0, 0;", "=r", [], dtype=gl.int32,
            is_pure=False, pack=1,
        )  # fmt: skip


@gluon.jit
def wait(barrier, phase):
    """Until that phase of a barrier of the program's own is over."""
    gl.inline_asm_elementwise(
        """{
            .reg .pred over;
            AGAIN: mbarrier.try_wait.parity.shared::cta.b64 over, [$1], $2;
            @!over bra.uni AGAIN;
            mov.u32 $0, 0;
        }""",
        "=r,r,r", [barrier, phase], dtype=gl.int32, is_pure=False, pack=1,
    )  # fmt: skip


@gluon.jit
def arrive(barrier, FORM: gl.constexpr):
    """The warp group arrives at that barrier of every program of the cluster.

    It has only read: a release, which would flush what it wrote, is a microsecond.
    """
    if of(FORM, "cluster") == 1:
        gl.inline_asm_elementwise(
            """{
                .reg .pred first;
                .reg .b32 thread;
                mov.u32 thread, %tid.x;
                and.b32 thread, thread, 127;
                setp.eq.u32 first, thread, 0;
                @first mbarrier.arrive.shared::cta.b64 _, [$1];
                mov.u32 $0, 0;
            }""",
            "=r,r", [barrier], dtype=gl.int32, is_pure=False, pack=1,
        )  # fmt: skip
    else:
        gl.inline_asm_elementwise(
            """{
                .reg .pred chosen;
                .reg .b32 thread, there;
                mov.u32 thread, %tid.x;
                and.b32 thread, thread, 127;
                setp.lt.u32 chosen, thread, $2;
                @chosen mapa.shared::cluster.u32 there, $1, thread;
                @chosen mbarrier.arrive.shared::cluster.b64 _, [there];
                mov.u32 $0, 0;
            }""",
            "=r,r,r", [barrier, of(FORM, "cluster")], dtype=gl.int32, is_pure=False, pack=1,
        )  # fmt: skip


@gluon.jit
def load(stage, step, row, column, full, empty, phase, rank, TEXT: gl.constexpr):
    """The first warp of the group waits until the stage is empty all over the cluster, and asks TMA for this program's
    share of its tiles; `full` counts the bytes of all shares."""
    gl.inline_asm_elementwise(
        of(TEXT, "load"), "=r,r,r,r,r,r,r,r,r", [stage, step, row, column, full, empty, phase, rank],
        dtype=gl.int32, is_pure=False, pack=1,
    )  # fmt: skip


@gluon.jit
def no_sums(FORM: gl.constexpr):
    """A warp group's rows of a tile, in parts of its columns: zeros."""
    TYPE: gl.constexpr = gl.int32 if of(FORM, "kind") == "s8" else gl.float32
    layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, of(FORM, "width"), 32 // of(FORM, "size")])
    parts = ()
    for _part in gl.static_range(of(FORM, "parts")):
        parts += (gl.zeros((64, of(FORM, "width")), TYPE, layout),)  # type: ignore[assignment]
    return parts


@gluon.jit
def multiply(parts, left, right, use, FORM: gl.constexpr, TEXT: gl.constexpr):
    """The parts, which count for nothing where `use` is 0, and the products of a stage: A's rows at `left`, B's tile at
    `right`. So many of the latest calls as `in_flight` says may not be done."""
    return gl.inline_asm_elementwise(
        of(TEXT, "multiply"), of(TEXT, "multiplied"), parts + (left, right, use),
        dtype=repeated(parts[0].dtype, of(FORM, "parts")), is_pure=False, pack=of(FORM, "registers"),
    )  # fmt: skip


@gluon.jit
def multiply_and_add(sums, parts, left, right, ADD: gl.constexpr, FORM: gl.constexpr, TEXT: gl.constexpr):
    """(The products of a stage, under way; the parts, to which those sums are added if `ADD` says so, done by then)."""
    COUNT: gl.constexpr = of(FORM, "parts")
    found = gl.inline_asm_elementwise(
        of(TEXT, "multiply_and_add" if ADD else "multiply_alone"), of(TEXT, "multiplied_and_added"),
        parts + sums + (left, right),
        dtype=repeated(parts[0].dtype, 2 * COUNT), is_pure=False, pack=of(FORM, "registers"),
    )  # fmt: skip
    return found[:COUNT], found[COUNT:]


@gluon.jit
def settled_and_added(sums, parts, FORM: gl.constexpr, TEXT: gl.constexpr):
    """The parts and those sums added, when these are done."""
    return gl.inline_asm_elementwise(
        of(TEXT, "settle_and_add"), of(TEXT, "settled_and_added"), parts + sums,
        dtype=repeated(parts[0].dtype, of(FORM, "parts")), is_pure=False, pack=of(FORM, "registers"),
    )  # fmt: skip


@gluon.jit
def added(parts, others):
    """Their sums, part by part."""
    sums = ()
    for part in gl.static_range(len(parts)):
        sums += (parts[part] + others[part],)  # type: ignore[assignment]
    return sums


@gluon.jit
def settled(parts, FORM: gl.constexpr, TEXT: gl.constexpr):
    """The parts when all is done that was in flight."""
    return gl.inline_asm_elementwise(
        "wgmma.wait_group.sync.aligned 0;", of(TEXT, "accumulators"), parts,
        dtype=repeated(parts[0].dtype, of(FORM, "parts")), is_pure=False, pack=of(FORM, "registers"),
    )  # fmt: skip
