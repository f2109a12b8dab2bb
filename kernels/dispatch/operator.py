"""The operators `tilewright::matmul` and `tilewright::linear`: for gradients, `torch.compile` and `torch.export`."""

from __future__ import annotations

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


def _keep_matmul(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _matmul_gradients(ctx: Any, d: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Of `nn` by `nt` and `tn`, of `nt` by `nn` and `tn`: each product in the layout that its operands have."""
    a, b = ctx.saved_tensors
    a_wanted, b_wanted = ctx.needs_input_grad
    of_a = matmul(d, b.t()) if a_wanted else None
    of_b = matmul(_rows(a).t(), _rows(d)) if b_wanted else None
    return of_a, of_b


def _keep_linear(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
    x, weight, _ = inputs
    ctx.save_for_backward(x, weight)


def _linear_gradients(ctx: Any, d: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    x, weight = ctx.saved_tensors
    x_wanted, weight_wanted, bias_wanted = ctx.needs_input_grad
    of_x = matmul(d, weight) if x_wanted else None
    of_weight = matmul(_rows(d).t(), _rows(x)) if weight_wanted else None
    of_bias = _rows(d).sum(0) if bias_wanted else None
    return of_x, of_weight, of_bias


def _rows(matrix: Tensor) -> Tensor:
    return matrix.reshape(-1, matrix.shape[-1])


torch.library.register_fake(MATMUL, _matmul_fake)
torch.library.register_fake(LINEAR, _linear_fake)
torch.library.register_autograd(MATMUL, _matmul_gradients, setup_context=_keep_matmul)
torch.library.register_autograd(LINEAR, _linear_gradients, setup_context=_keep_linear)
