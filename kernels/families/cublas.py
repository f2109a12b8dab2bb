"""`cublas`: NVIDIA's library, as `torch.mm` calls it. The yardstick, and a candidate like any other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from .. import fused
from ..config import Config
from ..device import Device
from ..family import Call, Family, Launch
from ..problem import DTYPES, Problem
from ..space import Constraint
from . import library, scaled


@contextmanager
def _tf32(enabled: bool) -> Iterator[None]:
    """PyTorch keeps the precision of fp32 products in a global switch: it is put back at once."""
    import torch  # see library.matmul_into

    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = enabled
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def bind(call: Call, config: Config) -> Launch:
    if DTYPES[call.problem.dtype].bytes == 1:
        return scaled.bind(call)
    if DTYPES[call.problem.dtype].bytes == 2:
        return library.matmul_into(call, nullcontext)
    tf32 = DTYPES[call.problem.dtype].precision == "tf32"
    return library.matmul_into(call, lambda: _tf32(tf32))


def _narrowing(problem: Problem, device: Device, config: Config) -> float:
    """Bytes an element of D is narrower or other than what the library writes."""
    same = DTYPES[problem.out_dtype].storage == DTYPES[problem.dtype].storage
    return 0 if same or problem.out_dtype == "fp32" or DTYPES[problem.dtype].bytes == 1 else 1


OUT_DTYPE = Constraint(
    "out_dtype",
    "conversions",
    _narrowing,
    lambda problem, device, config: 0,
    "torch.mm writes D in the dtype of A and B, or in fp32",
)
GPU = Constraint(
    "gpu",
    "GPUs needed",
    lambda problem, device, config: 1,
    lambda problem, device, config: min(device.capability, 1),
    "cuBLAS runs on NVIDIA GPUs",
)

FAMILY = Family(
    name="cublas",
    summary="NVIDIA's library through torch.mm; of one byte through torch._scaled_mm and torch._int_mm",
    axes=(),
    constraints=(GPU, OUT_DTYPE, scaled.ONE_BYTE),
    defaults=lambda problem, device: library.only("cublas"),
    binary=None,
    refuses=lambda call, config: "",
    bind=bind,
    sources=(Path(__file__), Path(library.__file__), Path(scaled.__file__), Path(fused.__file__)),
    # NVIDIA promises the same bits in every run only while a single stream is active: beside others the library may
    # choose another implementation. Source: cuBLAS documentation, Results reproducibility.
    deterministic=lambda problem, config: False,
)
