"""What a lap keeps alive for as long as its graph may be replayed."""

from __future__ import annotations

import gc

import pytest
import torch

from tilewright.kernels.config import Config
from tilewright.kernels.operands import current_device
from tilewright.kernels.problem import Problem
from tilewright.tuner.evaluate.bench import Bench
from tilewright.tuner.evaluate.check import compare, reference
from tilewright.tuner.evaluate.timing import read_us

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(("dtype", "epilogue"), [("bf16", "silu+up"), ("int8", "row_scale+column_scale")])
def test_a_lap_holds_the_memory_of_its_launches(dtype: str, epilogue: str) -> None:
    """The library has a second product, or sums in int32, in memory of its own: gone, a replay would touch nothing."""
    problem = Problem(4096, 4096, 1024, dtype, epilogue=epilogue)
    bench = Bench(current_device(), "cuda:0", 0)
    rotation = bench.rotation(problem, 4)
    lap = bench.launcher.lap(problem, rotation, Config.of("cublas"), 500.0)
    gc.collect()
    torch.cuda.empty_cache()
    for operands in rotation:
        operands.d.fill_(torch.nan)
    assert read_us(lap) > 0
    errors = [compare(operands.d, reference(problem, operands)).error for operands in rotation]
    assert max(errors) < 32, "each step of the library rounds"
