"""`cpu_blas`: the BLAS that PyTorch was built with (oneMKL, OpenBLAS, Accelerate), on the host, torch's threads."""

from __future__ import annotations

from pathlib import Path

from .. import fused
from ..config import Config
from ..device import Device
from ..family import Call, Family, Launch
from ..problem import DTYPES, Problem
from ..space import Constraint
from . import library


def bind(call: Call, config: Config) -> Launch:
    return library.matmul_into(call)


HOST = Constraint(
    "host",
    "GPU",
    lambda problem, device, config: min(device.capability, 1),
    lambda problem, device, config: 0,
    "the CPU's BLAS works on host memory",
)


def _other(problem: Problem, device: Device, config: Config) -> float:
    same = DTYPES[problem.out_dtype].storage == DTYPES[problem.dtype].storage
    return float(not same) + float(DTYPES[problem.dtype].precision == "tf32")


SAME_DTYPE = Constraint(
    "dtype",
    "conversions",
    _other,
    lambda problem, device, config: 0,
    "torch.mm on a CPU writes D in the dtype of A and B, and has no tf32",
)

FAMILY = Family(
    name="cpu_blas",
    summary="the host's BLAS through torch.mm",
    axes=(),
    constraints=(HOST, SAME_DTYPE),
    defaults=lambda problem, device: library.only("cpu_blas"),
    binary=None,
    refuses=lambda call, config: "",
    bind=bind,
    sources=(Path(__file__), Path(library.__file__), Path(fused.__file__)),
    runs_on="cpu",
    # oneMKL and OpenBLAS add in an order that goes by the number of threads and by how the operands are aligned.
    deterministic=lambda problem, config: False,
)
