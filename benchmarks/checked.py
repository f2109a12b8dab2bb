"""Computes a drawn problem in poisoned memory, and looks on the GPU at all that came out, without waiting for it."""

from __future__ import annotations

from dataclasses import fields
from typing import Final

import torch

from tilewright.benchmarks.drawn import FAR, MARGIN, Draw, Place
from tilewright.kernels.device import Device
from tilewright.kernels.families import family
from tilewright.kernels.family import Call
from tilewright.kernels.operands import Operands, call, epilogue_operands, torch_dtype
from tilewright.kernels.problem import DTYPES
from tilewright.kernels.scratch import Scratch
from tilewright.tuner.evaluate.check import Reference, reference, tolerance

REPEATS: Final = 3
BITS: Final = {1: torch.int8, 2: torch.int16, 4: torch.int32}
POISON: Final = {1: 0x7B, 2: 0x7FC5, 4: 0x7FC5A5A5}  # NaN of a kind that no arithmetic makes


class Memory:
    """Makes the operands of draws; what lies around them is NaN."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator("cuda").manual_seed(seed)
        self._far: torch.Tensor | None = None

    def input(self, at: Place, dtype: torch.dtype, special: bool) -> torch.Tensor:
        flat = self._flat(at.size, dtype)
        matrix = flat.as_strided(at.shape, at.strides, at.first)
        shape = tuple(1 if stride == 0 else extent for extent, stride in zip(at.shape, at.strides, strict=True))
        values = torch.randn(shape, generator=self.generator, device="cuda")
        if special and dtype.is_floating_point:
            for value in (torch.inf, -torch.inf, torch.nan):
                where = torch.randint(values.numel(), (1,), generator=self.generator, device="cuda")
                values.view(-1)[where] = value
        flat.as_strided(shape, at.strides, at.first).copy_(values)
        return matrix

    def _flat(self, size: int, dtype: torch.dtype) -> torch.Tensor:
        if size < FAR:
            outside = torch.nan if dtype.is_floating_point else 77
            return torch.full((size,), outside, dtype=dtype, device="cuda")
        if self._far is None:  # one for all, a matrix at a time: what an earlier one left in it is finite, mostly
            self._far = torch.zeros(4 * (FAR + (FAR >> 3)), dtype=torch.int8, device="cuda")
        return self._far.view(dtype)


def poisoned(at: Place, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """D, and the bits of the flat memory that it lies in."""
    flat = torch.full((at.size + MARGIN,), POISON[dtype.itemsize], dtype=BITS[dtype.itemsize], device="cuda")
    return flat.view(dtype).as_strided(at.shape, at.strides, at.first), flat


class Checker:
    """Computes draws of one family and looks at what came out, without waiting for the GPU."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._scratch = {False: Scratch("cuda"), True: Scratch("cuda")}
        self._side, self._busy = torch.cuda.Stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._work = torch.randn((4096, 4096), device="cuda", dtype=torch.bfloat16)

    def check(self, draw: Draw, memory: Memory, *, beside: bool, repeats: int = REPEATS) -> torch.Tensor | str:
        """Counts of elements that are wrong, that were changed around D, and that differ in repeats; or a refusal."""
        problem, (at_a, at_b, at_d) = draw.problem, draw.places()
        dtype, out_dtype = torch_dtype(problem.dtype), torch_dtype(problem.out_dtype)
        a, b = memory.input(at_a, dtype, draw.special), memory.input(at_b, dtype, draw.special)
        d, flat = poisoned(at_d, out_dtype)
        more = epilogue_operands(problem, memory.generator)
        if "up" in more:  # without infinities: times an activation that underflows in one precision they are NaN there
            more["up"] = memory.input(at_b, dtype, False)
        if "residual" in more:
            more["residual"] = memory.input(at_d, out_dtype, draw.special)
        operands = Operands(a, b, d, **more)
        wanted, one = call(problem, self._device, operands, self._scratch[False]), family(draw.config.family)
        refused = one.refuses(wanted, draw.config)
        if refused:
            return refused
        launch = one.bind(wanted, draw.config)
        launch()
        bits, poison = d.view(BITS[out_dtype.itemsize]), POISON[out_dtype.itemsize]
        first = bits.clone()
        wrong = elements_wrong(d, reference(problem, operands))
        differing = torch.zeros((), dtype=torch.int64, device="cuda")
        for _ in range(repeats):
            bits.fill_(poison)
            if beside:
                self._launch_beside(wanted, draw)
            else:
                launch()
            differing += (bits != first).sum()
        bits.fill_(poison)
        return torch.stack((wrong, (flat != poison).sum(), differing))

    def _launch_beside(self, wanted: Call, draw: Draw) -> None:
        """On a stream of its own, while another one keeps the GPU busy."""
        current = torch.cuda.current_stream()
        with torch.cuda.stream(self._busy):
            torch.mm(self._work, self._work)
        self._side.wait_stream(current)
        with torch.cuda.stream(self._side):
            again = call(draw.problem, self._device, operands_of(wanted), self._scratch[True])
            family(draw.config.family).bind(again, draw.config)()
        current.wait_stream(self._side)


def operands_of(wanted: Call) -> Operands:
    return Operands(**{one.name: getattr(wanted, one.name) for one in fields(Operands)})


def size_of(against: Reference) -> torch.Tensor | None:
    """Where inputs or sums are rounded, and few products or equal ones make no average of that."""
    dtype = DTYPES[against.problem.dtype]
    if against.problem.dtype != "tf32" and not dtype.storage.startswith("float8"):
        return None
    a, b = against.operands.a.double(), against.operands.b.double()
    return ((a * a) @ (b * b)).sqrt_()


def elements_wrong(found: torch.Tensor, against: Reference) -> torch.Tensor:
    """How many elements are further off than they may be; NaN stands for NaN, and an infinity for itself."""
    expected = against.expected
    allowed = tolerance(against.problem, expected, size_of(against))
    near = (found.to(expected.dtype) - expected).abs() <= allowed
    beyond = (
        found.isinf() & (found.sign() == expected.sign()) & (expected.abs() + allowed > torch.finfo(found.dtype).max)
    )
    same = (found == expected) | (found.isnan() & expected.isnan()) | beyond
    if against.problem.products == 2:  # the second product decides about an infinity's sign, and may be almost nothing
        same |= found.isinf() & expected.isinf()
    return (~((near & expected.isfinite()) | same)).sum()
