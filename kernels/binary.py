"""What the compiler must make of a kernel, the compilation for an explicit target, and the launch of the result."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, CompiledKernel
from triton.runtime.driver import driver
from triton.runtime.jit import JITCallable

Grid = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Binary:
    """One kernel with everything that its compilation depends on but the target. Shapes are run-time arguments.

    Attributes:
        kernel: a `triton.jit` or `gluon.jit` function; its constexpr parameters come last.
        types: (parameter, Triton type), in the kernel's order, of what is passed at run time.
        constants: (parameter, value) of what is compiled in.
        divisible: (parameter, divisor) that every call will honour.
        num_warps, num_stages: Triton's options.
        cluster: programs that start together on neighbouring multiprocessors and reach each other's shared memory.
        boxes: what one request to TMA moves by the first descriptors, where it is no block as Triton's types know it,
            whose extents are powers of two.
    """

    kernel: Any
    types: tuple[tuple[str, str], ...]
    constants: tuple[tuple[str, Any], ...]
    divisible: tuple[tuple[str, int], ...]
    num_warps: int
    num_stages: int
    cluster: int = 1
    boxes: tuple[tuple[int, ...], ...] = ()

    @property
    def key(self) -> tuple[object, ...]:
        """Equal keys compile to the same machine code."""
        function = self.kernel.fn
        name = f"{function.__module__}.{function.__qualname__}"
        return (name, self.types, self.constants, self.divisible, self.num_warps, self.num_stages)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a binary takes: registers and spilled bytes a thread, shared memory in bytes a block."""

    registers: int
    spill_bytes: int
    shared_memory_bytes: int


class CompileOnlyDriver:
    """Stands in for a GPU's driver where there is none, so that Triton compiles for an explicit target."""

    def __init__(self, target: GPUTarget) -> None:
        self.target = target

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_active_torch_device(self) -> Any:
        raise RuntimeError("this process compiles only: it has no GPU to run on")


def gpu_target(capability: int) -> GPUTarget:
    """Triton's target for a compute capability: 90 for 9.0."""
    return GPUTarget("cuda", capability, 32)


def compile_without_gpu(capability: int) -> None:
    """Makes this process compile for `capability` from now on, whatever GPU the machine has."""
    driver.set_active(CompileOnlyDriver(gpu_target(capability)))


def _language(kernel: Any) -> Any:
    """What the source of a `triton.jit` or `gluon.jit` function is to the compiler."""
    if not kernel.is_gluon():
        return ASTSource
    from triton.experimental.gluon._runtime import GluonASTSource  # it may be missing where no kernel needs it

    return GluonASTSource


def compile_binary(binary: Binary, capability: int) -> CompiledKernel:
    """Compiles into Triton's on-disk cache, or finds it there. Needs no GPU."""
    settle_key(binary.kernel)
    names = binary.kernel.arg_names
    types, constants = dict(binary.types), dict(binary.constants)
    signature = {name: types.get(name, "constexpr") for name in names}
    attributes = {(names.index(name),): [["tt.divisibility", divisor]] for name, divisor in binary.divisible}
    source = _language(binary.kernel)(
        binary.kernel, signature, {(names.index(name),): value for name, value in constants.items()}, attributes
    )
    options = {"num_warps": binary.num_warps, "num_stages": binary.num_stages}
    return _launched_so(triton.compile(source, target=gpu_target(capability), options=options), binary)


def settle_key(kernel: Any) -> None:
    """Makes Triton's key of a kernel in its cache the same in every process.

    What a key says of global constants is taken from the functions that the kernel calls as they are before they get a
    key themselves (`DependenciesFinder._update_hash`, Triton 3.6 and 3.7): then it lacks theirs, and depends on what
    was compiled before. A process that measures compiled once more, with an idle GPU, half of what others had
    compiled for it. So callees get theirs first.
    """
    if kernel.hash is not None:
        return
    begun = {id(kernel)}

    def settle(function: Any) -> None:
        for callee in _callees(function.fn):
            if id(callee) not in begun:
                begun.add(id(callee))
                settle(callee)
        function.cache_key  # noqa: B018 - it is kept by the function

    settle(kernel)


def _callees(function: Any) -> Iterator[JITCallable[Any]]:
    """What a kernel's Python function calls, by its own name or as an attribute of a module."""
    names, namespace = function.__code__.co_names, function.__globals__
    known = [namespace[name] for name in names if name in namespace]
    attributes = (getattr(one, name, None) for one in known if isinstance(one, ModuleType) for name in names)
    yield from (one for one in (*known, *attributes) if isinstance(one, JITCallable))


def _launched_so(compiled: CompiledKernel, binary: Binary) -> CompiledKernel:
    """With the clusters and boxes of `binary`, which Triton takes from what it has compiled."""
    warps, _cluster, shared_bytes = compiled.packed_metadata
    compiled.packed_metadata = (warps, binary.cluster, shared_bytes)
    if binary.boxes:
        known = compiled.metadata.tensordesc_meta
        boxes = [{**one, "block_size": list(box)} for one, box in zip(known, binary.boxes, strict=False)]
        compiled.metadata = compiled.metadata._replace(tensordesc_meta=[*boxes, *known[len(boxes) :]])
    return compiled


def usage(compiled: CompiledKernel) -> Usage:
    """Reads registers and spills out of the machine code with the `cuobjdump` that Triton ships."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    cubin = next(path for path in compiled.metadata_group.values() if str(path).endswith(".cubin"))
    printed = subprocess.run(
        [tool, "--dump-resource-usage", cubin], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    found = {name: int(value) for name, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", printed)}
    return Usage(found["REG"], found.get("LOCAL", 0) + found.get("STACK", 0), compiled.metadata.shared)


def interpreting() -> bool:
    """Whether kernels run in Triton's interpreter (`TRITON_INTERPRET=1`, read by Triton when they are decorated)."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


@cache
def _loaded(binary: Binary, capability: int) -> CompiledKernel:
    return compile_binary(binary, capability)


def launcher(binary: Binary, capability: int) -> Callable[[Grid, Sequence[Any]], None]:
    """What launches `binary` on the current device and stream, given a grid and the run-time arguments in order.

    Compiled at most once a process; Triton's argument handling (types, specialization) is not gone through again.
    """
    order = [name for name in binary.kernel.arg_names if name in dict(binary.types)]
    constants = dict(binary.constants)
    if interpreting():

        def interpret(grid: Grid, arguments: Sequence[Any]) -> None:
            binary.kernel[grid](**dict(zip(order, arguments, strict=True)), **constants)

        return interpret
    settle_key(binary.kernel)  # before `binary` is hashed, and the kernel with it
    compiled = _loaded(binary, capability)
    cluster = binary.cluster
    template = [constants.get(name) for name in binary.kernel.arg_names]
    places = [index for index, name in enumerate(binary.kernel.arg_names) if name not in constants]

    def launch(grid: Grid, arguments: Sequence[Any]) -> None:
        passed = template.copy()
        for place, argument in zip(places, arguments, strict=True):
            passed[place] = argument
        compiled[grid[0] // cluster, grid[1], grid[2]](*passed)

    return launch
