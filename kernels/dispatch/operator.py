"""The operators `tilewright::matmul` and `tilewright::linear`: for gradients, `torch.compile` and `torch.export`."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .direct import linear_product, product

MATMUL = "tilewright::matmul"
LINEAR = "tilewright::linear"
torch.library.define(MATMUL, "(Tensor a, Tensor b) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,))
torch.library.define(LINEAR, "(Tensor x, Tensor weight, Tensor? bias) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,))
torch.library.impl(MATMUL, "default", product)
torch.library.impl(LINEAR, "default", linear_product)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """`a[..., m, k] @ b[k, n]`."""
    d: Tensor = torch.ops.tilewright.matmul(a, b)
    return d


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`x[..., k] @ weight[n, k].T + bias[n]`."""
    d: Tensor = torch.ops.tilewright.linear(x, weight, bias)
    return d


def _matmul_fake(a: Tensor, b: Tensor) -> Tensor:
    return torch.matmul(a, b)


def _linear_fake(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return functional.linear(x, weight, bias)


def _keep_both(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    """Of each operand what the other one's gradient takes: beside a frozen weight no activation is held."""
    a, b, *_ = inputs
    a_wanted, b_wanted, *_ = ctx.needs_input_grad
    ctx.save_for_backward(a if b_wanted else None, b if a_wanted else None)


def _matmul_gradients(ctx: Any, d: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Of `nn` by `nt` and `tn`, of `nt` by `nn` and `tn`: each product in the layout that its operands have."""
    a, b = ctx.saved_tensors
    of_a = matmul(d, b.t()) if b is not None else None
    of_b = matmul(_rows(a).t(), _rows(d)) if a is not None else None
    return of_a, of_b


def _linear_gradients(ctx: Any, d: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    x, weight = ctx.saved_tensors
    of_x = matmul(d, weight) if weight is not None else None
    of_weight = matmul(_rows(d).t(), _rows(x)) if x is not None else None
    of_bias = _rows(d).sum(0) if ctx.needs_input_grad[2] else None
    return of_x, of_weight, of_bias


def _rows(matrix: Tensor) -> Tensor:
    return matrix.reshape(-1, matrix.shape[-1])


def _matmul_flops(a: tuple[int, ...], b: tuple[int, ...], **rest: Any) -> int:
    return 2 * math.prod(a) * b[-1]


def _linear_flops(x: tuple[int, ...], weight: tuple[int, ...], *rest: Any, **named: Any) -> int:
    return 2 * math.prod(x) * weight[0]


@cache
def count_flops() -> None:
    """Makes the operators count in torch's `FlopCounterMode`, whose module brings Triton in."""
    from torch.utils.flop_counter import register_flop_formula

    register_flop_formula(torch.ops.tilewright.matmul)(_matmul_flops)
    register_flop_formula(torch.ops.tilewright.linear)(_linear_flops)


torch.library.register_fake(MATMUL, _matmul_fake)
torch.library.register_fake(LINEAR, _linear_fake)
torch.library.register_autograd(MATMUL, _matmul_gradients, setup_context=_keep_both)
torch.library.register_autograd(LINEAR, _linear_gradients, setup_context=_keep_both)
