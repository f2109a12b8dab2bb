"""Computes a drawn problem in poisoned memory, and looks on the GPU at all that came out, without waiting for it."""

from __future__ import annotations

from dataclasses import fields
from typing import Final

import torch

from tilewright.benchmarks.drawn import FAR, MARGIN, Draw, Place
from tilewright.kernels.device import Device
from tilewright.kernels.epilogue import SCALES
from tilewright.kernels.families import family
from tilewright.kernels.family import Call
from tilewright.kernels.fused import TABLE
from tilewright.kernels.operands import Operands, call, epilogue_operands, quantized, sigma_of, torch_dtype
from tilewright.kernels.problem import DTYPES
from tilewright.kernels.scratch import Scratch
from tilewright.tuner.evaluate.check import Reference, reference, tolerance

REPEATS: Final = 3
BITS: Final = {1: torch.int8, 2: torch.int16, 4: torch.int32}
POISON: Final = {1: 0x7B, 2: 0x7FC5, 4: 0x7FC5A5A5}  # NaN of a kind that no arithmetic makes


class Memory:
    """Makes the operands of draws; what lies around them is NaN."""

    def __init__(self, seed: int, device: str = "cuda") -> None:
        self.generator = torch.Generator(device).manual_seed(seed)
        self._device = device
        self._far: torch.Tensor | None = None

    def input(self, at: Place, dtype: torch.dtype, sigma: float = 1.0, *, special: bool = False) -> torch.Tensor:
        """Normal numbers of that standard deviation; `special` ones have infinities and a NaN among them."""
        flat = self._flat(at.size, dtype)
        matrix = flat.as_strided(at.shape, at.strides, at.first)
        shape = tuple(1 if stride == 0 else extent for extent, stride in zip(at.shape, at.strides, strict=True))
        values = sigma * torch.randn(shape, generator=self.generator, device=self._device)
        if not dtype.is_floating_point:
            values = quantized(values, dtype)
        if special and dtype.is_floating_point:
            for value in (torch.inf, -torch.inf, torch.nan):
                where = torch.randint(values.numel(), (1,), generator=self.generator, device=self._device)
                values.view(-1)[where] = value
        flat.as_strided(shape, at.strides, at.first).copy_(values)
        return matrix

    def _flat(self, size: int, dtype: torch.dtype) -> torch.Tensor:
        if size < FAR:
            outside = torch.nan if dtype.is_floating_point else 77
            return torch.full((size,), outside, dtype=dtype, device=self._device)
        if self._far is None:  # one for all, a matrix at a time: what an earlier one left in it is finite, mostly
            self._far = torch.zeros(4 * (FAR + (FAR >> 3)), dtype=torch.int8, device=self._device)
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
        dtype, out_dtype, sigma = torch_dtype(problem.dtype), torch_dtype(problem.out_dtype), sigma_of(problem)
        a, b = (memory.input(at, dtype, sigma, special=draw.special) for at in (at_a, at_b))
        d, flat = poisoned(at_d, out_dtype)
        more = epilogue_operands(problem, memory.generator)
        if "up" in more:  # without infinities: times an activation that underflows in one precision they are NaN there
            more["up"] = memory.input(at_b, dtype)
        if "residual" in more:
            more["residual"] = memory.input(at_d, out_dtype, special=draw.special)
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
    """Of each element's sum, as it is scaled. Where inputs or sums are rounded, for few products or equal ones make no
    average of that; None elsewhere."""
    problem, given = against.problem, against.operands
    if problem.dtype != "tf32" and not DTYPES[problem.dtype].storage.startswith("float8"):
        return None
    a, b = given.a.double(), given.b.double()
    size = ((a * a) @ (b * b)).sqrt_()
    for name in SCALES:
        if name in problem.epilogue_operands:
            TABLE[name].in_place(size, getattr(given, name).double())
    return size * sigma_of(problem) if problem.products == 2 else size  # A is in the second product too, unscaled


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
