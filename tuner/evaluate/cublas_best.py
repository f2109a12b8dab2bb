"""cuBLAS's own best candidate: what it proposes for a problem, each timed, through nvmath-python if that is here.

Source: NVIDIA nvmath-python, linalg.advanced.Matmul, `plan` and `autotune` (1.0).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Final

from ...kernels.config import Config
from ...kernels.device import Device
from ...kernels.family import Call, Family, Launch
from ...kernels.problem import DTYPES, Problem
from ...kernels.space import Constraint

NAME: Final = f"{__name__}:FAMILY"
MISSING: Final = "cuBLAS's own best candidate needs nvmath-python: pip install 'nvmath-python[cu13]'"
_ITERATIONS: Final = 10

# The candidate that was fastest on the first operands of a problem; the other operands are given the same.
_fastest: dict[Problem, Any] = {}


def is_here() -> bool:
    return importlib.util.find_spec("nvmath") is not None


def bind(call: Call, config: Config) -> Launch:
    from nvmath.linalg import advanced

    tf32 = DTYPES[call.problem.dtype].precision == "tf32"
    compute = advanced.MatmulComputeType.COMPUTE_32F_FAST_TF32 if tf32 else advanced.MatmulComputeType.COMPUTE_32F
    options = advanced.MatmulOptions(inplace=True, compute_type=compute)
    product = advanced.Matmul(call.a, call.b, call.d, beta=0.0, options=options)
    if call.problem in _fastest:
        product.plan(algorithms=[_fastest[call.problem]])
    else:
        product.plan()
        product.autotune(iterations=_ITERATIONS)
        _fastest[call.problem] = product.algorithms[0]

    def launch() -> None:
        product.execute()

    return launch


def _unusable(problem: Problem, device: Device, config: Config) -> float:
    same = DTYPES[problem.out_dtype].storage == DTYPES[problem.dtype].storage
    return float(not is_here()) + float(not same) + float(device.capability == 0) + float(problem.epilogue != "")


FAMILY: Final = Family(
    name=NAME,
    summary="the fastest of cuBLAS's own candidates, through nvmath-python",
    axes=(),
    constraints=(Constraint("nvmath", "lacks", _unusable, lambda problem, device, config: 0, MISSING),),
    defaults=lambda problem, device: (Config.of(NAME),),
    binary=None,
    refuses=lambda call, config: "",
    bind=bind,
    sources=(Path(__file__),),
)
