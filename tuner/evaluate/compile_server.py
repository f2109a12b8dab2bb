"""The program of a compiling process: blind to the GPU, it compiles configs for an explicit device."""

from __future__ import annotations

import os
import sys
import time
from typing import Final

from triton.compiler.errors import CompilationError, CompileTimeAssertionFailure
from triton.runtime.errors import OutOfResources, PTXASError

from ...kernels import binary, families
from ...kernels.access import Accesses
from ..trial import Outcome, Resources
from .messages import Compiled, CompileRequest
from .process import serve

_REASON_AT_MOST: Final = 600
_YIELD: Final = 5  # to those who measure and search, whom a process that compiles ahead would keep waiting


def compile_config(request: CompileRequest) -> Compiled:
    """Compiles into Triton's on-disk cache."""
    family = families.family(request.config.family)
    if family.binary is None:
        raise ValueError(f"{family.name} is a library: there is nothing to compile")
    wanted = family.binary(request.problem, request.device, request.config, Accesses.dense(request.problem))
    started = time.perf_counter()
    try:
        compiled = binary.compile_binary(wanted, request.device.capability)
    except OutOfResources as error:
        return Compiled(outcome=Outcome.OUT_OF_RESOURCES, reason=_first_line(error))
    except (CompilationError, CompileTimeAssertionFailure, PTXASError, RuntimeError, ValueError, TypeError) as error:
        return Compiled(reason=f"{type(error).__name__}: {_first_line(error)}")
    seconds = time.perf_counter() - started
    used = binary.usage(compiled)
    resources = Resources(used.registers, used.spill_bytes, used.shared_memory_bytes, seconds)
    limit = request.device.shared_memory_bytes
    if used.shared_memory_bytes > limit:
        over = f"shared memory: {used.shared_memory_bytes} bytes, the device has {limit} a block"
        return Compiled(resources, Outcome.OUT_OF_RESOURCES, over)
    return Compiled(resources)


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:_REASON_AT_MOST]


def main() -> None:
    os.nice(_YIELD)
    binary.compile_without_gpu(int(sys.argv[2]))
    serve(compile_config)


if __name__ == "__main__":
    # Under its full name, so that what it sends is of the classes that the other end knows.
    from .compile_server import main as served

    served()
