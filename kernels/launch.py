"""A kernel bound to memory, and the shortest way to launch it again on other memory of the same form."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from types import FunctionType
from typing import Any, Final

from triton.runtime.driver import driver

from .binary import Binary, Grid, compile_binary, launcher

# The parameters of every kernel of ours begin so: pointers, or descriptors made for them.
OPERANDS: Final = ("a", "b", "d")
SCRATCH: Final = ("partials", "counters")
EPILOGUE: Final = ("scale", "row_scale", "column_scale", "bias", "up", "residual")
MAPS: Final = 64  # descriptors kept an operand: as many addresses as an allocator hands out in turn

# (address of A, of B, of D, raw stream) -> launched
Run = Callable[[int, int, int, int], None]
# raw stream -> the scratch tensors for a launch there, to be kept until it is launched
ScratchOf = Callable[[int], tuple[Any, Any]]


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


def direct(launch: Bound, scratch_of: ScratchOf | None) -> Run:
    """What launches the kernel on the current device, given addresses and a raw stream, through the driver's C call.

    It skips what Triton does on every launch though it never changes: the hooks, the scratch allocators, the checks of
    pointers (`cuPointerGetAttribute`), the encoding of descriptors that were encoded before.

    Args:
        launch: the kernel and its arguments; of A, B and D the form counts and not the address.
        scratch_of: gives the scratch memory of a stream; asked only where the kernel takes any.

    Raises:
        NotDirect: the kernel takes its operands in another way.
    """
    if tuple(launch.named)[:3] != OPERANDS:
        raise NotDirect(f"its parameters are {', '.join(launch.named)}: they must begin with {', '.join(OPERANDS)}")
    if any(name in EPILOGUE for name in launch.named):
        raise NotDirect("its epilogue takes operands, whose addresses change with every call")
    compiled = _loaded(launch.binary, launch.capability, driver.active.get_current_device())
    starter = compiled.run
    if starter.global_scratch_size or starter.profile_scratch_size:
        raise NotDirect("it wants global scratch memory, which Triton allocates")
    raw = _past_wrappers(starter.launch)
    constants, tail = dict(launch.binary.constants), list(launch.arguments[3:])
    with_scratch = tuple(launch.named)[3:5] == SCRATCH
    rest = _in_place(launch.binary, constants, tail[2:] if with_scratch else tail, skipped=5 if with_scratch else 3)
    start = _start(compiled, starter, raw, launch.grid)
    if any(hasattr(argument, "block_shape") for argument in launch.arguments[:3]):
        if with_scratch:
            raise NotDirect("it takes both descriptors and scratch memory")
        return _through_descriptors(start, _forms(compiled, launch.arguments[:3]), rest)
    if not with_scratch:
        return lambda a, b, d, stream: start(stream, (a, b, d, *rest))
    if scratch_of is None:
        raise NotDirect("it takes scratch memory and none is given")

    def with_partials(a: int, b: int, d: int, stream: int) -> None:
        partials, counters = scratch_of(stream)
        start(stream, (a, b, d, partials.data_ptr(), counters.data_ptr(), *rest))

    return with_partials


@cache
def _loaded(binary: Binary, capability: int, device: int) -> Any:
    """The kernel as it is on a device: a module belongs to one. Kept as long as the process, like its machine code."""
    compiled = compile_binary(binary, capability)
    compiled._init_handles()
    return compiled


def _past_wrappers(launch: Any) -> Any:
    """The C function under the Python ones that encode descriptors."""
    while isinstance(launch, FunctionType):
        inner = inspect.getclosurevars(launch).nonlocals
        if "launcher" not in inner:
            raise NotDirect("this Triton launches in another way")
        launch = inner["launcher"]
    return launch


def _in_place(binary: Binary, constants: dict[str, Any], values: list[Any], skipped: int) -> tuple[Any, ...]:
    """The arguments after the first `skipped`, with those that are compiled in where the signature has them."""
    left = iter(values)
    return tuple(constants[name] if name in constants else next(left) for name in binary.kernel.arg_names[skipped:])


def _start(compiled: Any, starter: Any, raw: Any, grid: Grid) -> Callable[[int, tuple[Any, ...]], None]:
    """(stream, arguments) -> launched. Triton 3.7 has one C function for all kernels, 3.6 one a signature."""
    function, packed = compiled.function, compiled.packed_metadata
    x, y, z = grid
    form = (starter.launch_cooperative_grid, starter.launch_pdl)
    if hasattr(starter, "arg_annotations"):
        signature = (starter.arg_annotations, starter.kernel_signature)
        fixed = (function, *form, packed, None, None, None, None, None, *signature)
        return lambda stream, arguments: raw(x, y, z, stream, *fixed, arguments)
    middle = (function, *form, None, None, packed, None, None, None)
    return lambda stream, arguments: raw(x, y, z, stream, *middle, *arguments)


@dataclass(frozen=True, slots=True)
class _Address:
    address: int

    def data_ptr(self) -> int:
        return self.address


@dataclass(frozen=True, slots=True)
class _Described:
    """A descriptor as Triton's encoder reads it."""

    base: _Address
    shape: list[int]
    strides: list[int]
    padding: str
    round_f32_to_tf32: bool


class _Form:
    """One operand's descriptors: encoded once an address, for nothing else in them changes. Keeps no memory alive."""

    def __init__(self, descriptor: Any, metadata: Any) -> None:
        from triton.backends.nvidia.driver import make_tensordesc_arg

        self._metadata, self._encode = metadata, make_tensordesc_arg
        self._shape, self._strides = list(descriptor.shape), list(descriptor.strides)
        self._padding, self._tf32 = descriptor.padding, getattr(descriptor, "round_f32_to_tf32", False)
        self.constants = (*self._shape, *self._strides)
        self.maps: dict[int, Any] = {}

    def encode(self, address: int) -> Any:
        described = _Described(_Address(address), self._shape, self._strides, self._padding, self._tf32)
        encoded = self._encode(described, self._metadata)[0]
        if len(self.maps) >= MAPS:
            self.maps.clear()
        self.maps[address] = encoded
        return encoded


def _forms(compiled: Any, descriptors: Sequence[Any]) -> list[_Form]:
    metadata = getattr(compiled.metadata, "tensordesc_meta", None)
    if not metadata or len(metadata) != len(descriptors):
        raise NotDirect("its descriptors are not encoded on the host")
    return [_Form(descriptor, each) for descriptor, each in zip(descriptors, metadata, strict=True)]


def _through_descriptors(
    start: Callable[[int, tuple[Any, ...]], None], forms: list[_Form], rest: tuple[Any, ...]
) -> Run:
    form_a, form_b, form_d = forms
    maps_a, maps_b, maps_d = (form.maps for form in forms)
    after_a, after_b, after_d = form_a.constants, form_b.constants, (*form_d.constants, *rest)

    def run(a: int, b: int, d: int, stream: int) -> None:
        map_a = maps_a.get(a) or form_a.encode(a)
        map_b = maps_b.get(b) or form_b.encode(b)
        map_d = maps_d.get(d) or form_d.encode(d)
        start(stream, (map_a, *after_a, map_b, *after_b, map_d, *after_d))

    return run
