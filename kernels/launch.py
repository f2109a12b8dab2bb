"""A kernel bound to memory, and the shortest way to launch it again on other memory of the same form."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import triton
from triton.runtime.build import compile_module_from_src
from triton.runtime.driver import driver

from .binary import Binary, Grid, compile_binary, launcher

# The parameters that are memory, in every kernel's order; all others are numbers that never change between two calls of
# one form. A launch is given those of them that its kernel has.
OPERANDS: Final = ("a", "b", "d")
SCRATCH: Final = ("partials", "counters")
EPILOGUE: Final = ("scale", "row_scale", "column_scale", "bias", "up", "residual")
MEMORY: Final = (*OPERANDS, *SCRATCH, *EPILOGUE)
MAP_BYTES: Final = 128  # of a CUtensorMap
WARP: Final = 32
SOURCE: Final = Path(__file__).with_name("start.c")

# (address of each of MEMORY that the kernel takes, ..., raw stream) -> launched
Run = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Bound:
    """A launch on fixed memory: call it, any number of times; it goes to the current stream.

    Attributes:
        arguments: the run-time arguments, in the order of `binary.types`.
    """

    binary: Binary
    capability: int
    grid: Grid
    arguments: tuple[Any, ...]
    run: Callable[[Grid, Sequence[Any]], None]

    def __call__(self) -> None:
        self.run(self.grid, self.arguments)

    @property
    def named(self) -> dict[str, Any]:
        return {name: argument for (name, _), argument in zip(self.binary.types, self.arguments, strict=True)}


def bound(binary: Binary, capability: int, grid: Grid, arguments: Sequence[Any]) -> Bound:
    """Compiles what is missing."""
    return Bound(binary, capability, grid, tuple(arguments), launcher(binary, capability))


class NotDirect(RuntimeError):
    """A kernel that cannot be launched past Triton's own launcher; the message says why."""


def direct(launch: Bound) -> Run:
    """What launches the kernel on the current device, given addresses and a raw stream, in one call of the driver's.

    It skips what Triton does on every launch though it never changes: the hooks, the scratch allocators, the checks of
    pointers (`cuPointerGetAttribute`), the reading of every number, the encoding of descriptors.

    Args:
        launch: the kernel and its arguments; of its memory the form counts and not the address.

    Raises:
        NotDirect: the kernel takes its operands in another way.
    """
    device = driver.active.get_current_device()
    compiled = _loaded(launch.binary, launch.capability, device)
    starter = compiled.run
    if starter.global_scratch_size or starter.profile_scratch_size:
        raise NotDirect("it wants global scratch memory, which Triton allocates")
    warps, _cluster, shared_bytes = compiled.packed_metadata
    if starter.launch_cooperative_grid or starter.launch_pdl:
        raise NotDirect("its blocks are launched together, or before the kernel ahead has ended")
    memory = [name for name in MEMORY if name in launch.named]
    parameters = (*_parameters(launch, compiled, memory), 0, 0)  # the last two are the scratch memory that it has not
    form = (launch.grid, warps * WARP, launch.binary.cluster, shared_bytes)
    run: Run = _module().Start(compiled.function, *form, len(memory), parameters, device)
    return run


@cache
def _loaded(binary: Binary, capability: int, device: int) -> Any:
    """The kernel as it is on a device: a module belongs to one. Kept as long as the process, like its machine code."""
    compiled = compile_binary(binary, capability)
    compiled._init_handles()
    return compiled


@cache
def _module() -> Any:
    """`start.c`, compiled once a machine into Triton's cache by what Triton compiles its own launchers with."""
    include = Path(triton.__file__).parent / "backends" / "nvidia" / "include"
    try:
        return compile_module_from_src(SOURCE.read_text(), "tilewright_start", include_dirs=[str(include)])
    except (OSError, RuntimeError, ImportError, subprocess.CalledProcessError) as error:
        raise NotDirect(f"{SOURCE.name} cannot be compiled or loaded: {error}") from error


def _parameters(launch: Bound, compiled: Any, memory: Sequence[str]) -> list[object]:
    """As `start.c` reads them: a number, or the place of an address among those given, with the map that it is for."""
    metadata = iter(getattr(compiled.metadata, "tensordesc_meta", None) or ())
    found: list[object] = []
    for name, argument in launch.named.items():
        if hasattr(argument, "block_shape"):
            encoding = next(metadata, None)
            if encoding is None:
                raise NotDirect("its descriptors are not encoded on the host")
            found.append((memory.index(name), _tensor_map(argument, encoding)))
            found += [*argument.shape, *argument.strides]
        elif name in memory:
            found.append((memory.index(name),))
        elif isinstance(argument, int):
            found.append(argument)
        else:
            raise NotDirect(f"its parameter {name} is a {type(argument).__name__}: neither memory nor a whole number")
    return found


def _tensor_map(descriptor: Any, encoding: Any) -> bytes:
    """The descriptor as the GPU reads it. Triton hands out an object that ends with it."""
    from triton.backends.nvidia.driver import make_tensordesc_arg

    encoded = make_tensordesc_arg(descriptor, encoding)[0]
    size = type(encoded).__basicsize__
    if size < MAP_BYTES + object.__basicsize__:
        raise NotDirect(f"this Triton encodes a descriptor as a {type(encoded).__name__} of {size} bytes")
    return ctypes.string_at(id(encoded) + size - MAP_BYTES, MAP_BYTES)
