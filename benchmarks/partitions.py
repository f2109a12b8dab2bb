"""A kernel in partitions that share nothing, or race: what compute-sanitizer finds in them.

    compute-sanitizer --tool=racecheck python -P benchmarks/partitions.py
    compute-sanitizer --tool=racecheck python -P benchmarks/partitions.py --racing

With `--racing` one partition reads in shared memory what another one writes, and neither waits: that is to be found.
"""

from __future__ import annotations

import sys
from typing import Final

import torch
import triton
from triton.compiler.compiler import CompiledKernel
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon._runtime import GluonASTSource

from tilewright.kernels.binary import gpu_target

PROGRAMS: Final = 264  # two for each multiprocessor of a Hopper
LAUNCHES: Final = 16
RACE: Final = "--racing"


@gluon.jit  # type: ignore[untyped-decorator]
def partition(d, shared, NUMBER: gl.constexpr, WRITES: gl.constexpr, READS: gl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Its first thread writes its number, and what it read, into its own place."""
    threads = gl.arange(0, 128, gl.BlockedLayout([1], [32], [4], [0]))
    found = threads.to(gl.int64) * 0
    if WRITES:
        shared.store(threads.to(gl.int64))
    if READS:
        found = shared.load(threads.type.layout)
    gl.store(d + 3 * gl.program_id(0) + NUMBER + threads * 0, (found + NUMBER + 1).to(gl.int32), mask=threads == 0)


@gluon.jit  # type: ignore[untyped-decorator]
def partitions_kernel(d, RACING: gl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    shared = gl.allocate_shared_memory(gl.int64, [128], gl.SwizzledSharedLayout(1, 1, 1, [0]))
    gl.warp_specialize(
        [
            (partition, (d, shared, 0, RACING, False)),
            (partition, (d, shared, 1, False, RACING)),
            (partition, (d, shared, 2, False, False)),
        ],
        [4, 4],
        [120, 120],
    )


def compiled(capability: int, *, racing: bool) -> CompiledKernel:
    """The kernel as its launches compile it. Needs no GPU."""
    source = GluonASTSource(
        partitions_kernel, {"d": "*i32", "RACING": "constexpr"}, {(1,): racing}, {(0,): [["tt.divisibility", 16]]}
    )
    return triton.compile(source, target=gpu_target(capability), options={"num_warps": 4})


def main() -> None:
    d = torch.zeros((PROGRAMS, 3), dtype=torch.int32, device="cuda")
    for _ in range(LAUNCHES):
        partitions_kernel[(PROGRAMS,)](d, RACE in sys.argv, num_warps=4)
    torch.cuda.synchronize()
    print("written by partitions:", d.sum(dim=0).tolist())


if __name__ == "__main__":
    main()
