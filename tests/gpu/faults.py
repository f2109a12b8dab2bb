"""Families that fail on a GPU, each in one way: named `tilewright.tests.gpu.faults:NAME` wherever one is asked."""

# A kernel is compiled by Triton, which takes a parameter's annotation for its own.
# mypy: disable-error-code="untyped-decorator, no-untyped-def, no-untyped-call"

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
import triton
import triton.language as tl

from tilewright.kernels.config import Config
from tilewright.kernels.family import Call, Family, Launch
from tilewright.kernels.space import Axis

MODULE: Final = "tilewright.tests.gpu.faults"
WHOLE_ROWS: Final = 64  # of a tile that has no mask
RARELY: Final = 1000  # launches from one wrong result to the next
FAR: Final = 1 << 40  # elements beyond D, where no memory is mapped


@triton.jit
def wait_kernel(flag, d):
    seen = tl.load(flag, volatile=True)
    while seen == 0:
        seen = tl.load(flag, volatile=True)
    tl.store(d, seen.to(d.dtype.element_ty))


@triton.jit
def far_kernel(d, far):
    tl.store(d + far, 0.0)


@triton.jit
def misaligned_kernel(address):
    tl.store(address.to(tl.pointer_type(tl.int32)), 1)


@triton.jit
def rarely_kernel(counter, d, every):
    if tl.atomic_add(counter, 1) % every == every - 1:
        tl.store(d, float("nan"))


def config_of(attribute: str) -> Config:
    return Config.of(f"{MODULE}:{attribute}", variant=0)


def _never_ends(call: Call, config: Config) -> Launch:
    flag = torch.zeros(1, dtype=torch.int32, device=call.d.device)
    return lambda: wait_kernel[(1,)](flag, call.d)


def _illegal_address(call: Call, config: Config) -> Launch:
    return lambda: far_kernel[(1,)](call.d, FAR)


def _misaligned(call: Call, config: Config) -> Launch:
    return lambda: misaligned_kernel[(1,)](call.d.data_ptr() + 2)


def _wrong_when_ragged(call: Call, config: Config) -> Launch:
    rows = call.problem.m // WHOLE_ROWS * WHOLE_ROWS

    def launch() -> None:
        torch.mm(call.a[:rows], call.b, out=call.d[:rows])

    return launch


def _wrong_rarely(call: Call, config: Config) -> Launch:
    counter = torch.zeros(1, dtype=torch.int32, device=call.d.device)

    def launch() -> None:
        torch.mm(call.a, call.b, out=call.d)
        rarely_kernel[(1,)](counter, call.d, RARELY)

    return launch


def _writes_beside(call: Call, config: Config) -> Launch:
    """The element behind D's last one; right for all else."""
    last = sum((extent - 1) * stride for extent, stride in zip(call.d.shape, call.d.stride(), strict=True))

    def launch() -> None:
        call.d.copy_(torch.mm(call.a.float(), call.b.float()))
        call.d.as_strided((1,), (1,), call.d.storage_offset() + last + 1).zero_()

    return launch


def _other_every_time(call: Call, config: Config) -> Launch:
    """By one unit in the last place or two, as a sum whose order changes."""

    def launch() -> None:
        noise = torch.rand((), device=call.d.device)
        call.d.copy_(torch.mm(call.a.float(), call.b.float()) * (1 + noise * torch.finfo(call.d.dtype).eps))

    return launch


def _too_large(call: Call, config: Config) -> Launch:
    scratch = torch.empty(2 * call.device.memory_bytes, dtype=torch.int8, device=call.d.device)

    def launch() -> None:
        call.d.fill_(scratch[0])

    return launch


def _family(attribute: str, bind: Callable[[Call, Config], Launch]) -> Family:
    return Family(
        name=f"{MODULE}:{attribute}",
        summary=f"for tests: {attribute.lower()}",
        axes=(Axis("variant", (0,)),),
        constraints=(),
        defaults=lambda problem, device: (config_of(attribute),),
        binary=None,
        refuses=lambda call, config: "",
        bind=bind,
        sources=(Path(__file__),),
    )


NEVER_ENDS = _family("NEVER_ENDS", _never_ends)
ILLEGAL_ADDRESS = _family("ILLEGAL_ADDRESS", _illegal_address)
MISALIGNED = _family("MISALIGNED", _misaligned)
WRONG_WHEN_RAGGED = _family("WRONG_WHEN_RAGGED", _wrong_when_ragged)
WRONG_RARELY = _family("WRONG_RARELY", _wrong_rarely)
WRITES_BESIDE = _family("WRITES_BESIDE", _writes_beside)
OTHER_EVERY_TIME = _family("OTHER_EVERY_TIME", _other_every_time)
TOO_LARGE = _family("TOO_LARGE", _too_large)
