"""What would serve a call, and why, in words."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .direct import adds, engine_of, plan_of
from .engine import Engine
from .lookup import Choice
from .wanted import wanted_of


def explain(a: Tensor, b: Tensor, bias: Tensor | None = None) -> str:
    """What would serve `matmul(a, b)` now, and why: by what, measured when and with what, from which table.

    For a linear layer, `b` is `weight.T`, and `bias` its bias. Nothing is compiled or run.
    """
    wanted = wanted_of(a, b)
    if wanted.problem is None:
        return f"torch serves it: {wanted.refusal}"
    if bias is not None and not adds(a, b.t(), bias):
        return f"torch serves it: a kernel adds {wanted.problem.n} dense numbers of {a.dtype}, and no other bias"
    problem = wanted.problem if bias is None else replace(wanted.problem, epilogue="bias")
    if not a.is_cuda:
        return f"{problem}: torch serves it, for it is on a {a.device.type} and kernels are for GPUs"
    engine = engine_of(a.get_device())
    return f"{problem} on {engine.device.name}: {told(engine.choose(problem), engine)}"


def warmup(a: Tensor, b: Tensor, bias: Tensor | None = None) -> str:
    """Compiles and loads what serves `matmul(a, b)`, so that a CUDA graph may be captured; tells what that is.

    For a linear layer, `b` is `weight.T`, and `bias` its bias.
    """
    if torch.cuda.is_available() and a.is_cuda and bias is not None:
        plan_of(a, b.t(), transposed=True, bias=True)
    elif torch.cuda.is_available() and a.is_cuda:
        transposed = b.dim() == 2 and b.stride(0) == 1 and b.stride(1) != 1
        plan_of(a, b)
        if transposed:
            plan_of(a, b.t(), transposed=True)
    return explain(a, b, bias)


def told(choice: Choice, engine: Engine) -> str:
    """A choice with its evidence, one line."""
    parts = [f"{choice.config or 'the library'} serves it ({choice.origin}): {choice.why}"]
    if (standing := choice.standing) is not None:
        speed = f", {standing.ratio} times as fast as the library" if standing.ratio else ""
        how = "raced" if standing.raced else "timed"
        made = standing.environment
        parts.append(
            f"{how} {standing.measured_at:%Y-%m-%d} at {standing.median_us:.4g} us{speed}, "
            f"Triton {made.triton}, torch {made.torch}, driver {made.driver}"
        )
    table = engine.found
    parts.append(
        f"table: {table.source}" if table.table else f"no table: {'; '.join(table.refused) or 'none is found'}"
    )
    return "; ".join(parts)
