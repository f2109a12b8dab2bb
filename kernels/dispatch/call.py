"""`matmul` and `linear` as everybody calls them: plain tensors straight to the kernel, all else by the operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd import forward_ad
from torch.autograd.graph import increment_version
from torch.nn import functional

from . import operator
from .direct import (
    biased_ways,
    by_library,
    give_to_library,
    is_dense,
    linear_product,
    linear_ways,
    product,
    product_into,
    remember,
    remember_linear,
    ways,
)
from .plan import DTYPE_NAMES

PLAIN: Final = frozenset((Tensor, torch.nn.Parameter))
TAKEN: Final = (Tensor, torch.nn.Parameter, FakeTensor)  # by the operator; what another subclass does is its own affair
ACTIVATIONS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}

_compiling = torch.compiler.is_compiling
_dynamo = torch.compiler.is_dynamo_compiling
_grad_enabled = torch.is_grad_enabled
_autocast = torch._C._is_any_autocast_enabled
_modes = torch._C._len_torch_dispatch_stack
_transforms = torch._C._functorch.maybe_current_level
_tracing = torch._C._get_tracing_state


def matmul(
    a: Tensor, b: Tensor, bias: Tensor | None = None, activation: str | None = None, out: Tensor | None = None
) -> Tensor:
    """`activation(a @ b + bias)`, as `torch.matmul` has it, by a tuned kernel where one is known to be faster.

    Args:
        a, b: as for `torch.matmul`. A kernel serves `[..., m, k] @ [k, n]`, all else is torch's.
        bias: added to the product, broadcast.
        activation: relu, gelu, gelu_tanh, silu, sigmoid or tanh.
        out: where the result goes, as for `torch.matmul`; it may share memory with `bias`.

    Raises:
        ValueError: an activation that is none.
        NotTunedError: the problem is not tuned, and the miss policy is `error`.
    """
    plain = bias is None and activation is None
    if activation is not None:
        _check(activation)
    if out is not None and plain:
        return _into(a, b, out)
    d = _at_once(a, b) if not _dynamo() else None
    if d is None:
        d = _multiplied(a, b)
    return d if plain else _finished(d, bias, activation, out)


def _at_once(a: Tensor, b: Tensor) -> Tensor | None:
    """By the way of an earlier call of the same form; None where there is none."""
    try:
        known = ways.get((a.shape, b.shape), ())
    except (RuntimeError, TypeError):  # a nested tensor, or an extent that is a symbol
        return None
    except AttributeError:  # no tensor: torch asks it what it does, or says what is wrong
        return torch.matmul(a, b)
    if known and _watched():
        return None
    for fits, free, serve, trains in known:
        if fits(a, b):
            if free or not _grad_enabled():
                return serve(a, b)
            return None if trains else torch.matmul(a, b)
    return None


def _multiplied(a: Tensor, b: Tensor) -> Tensor:
    if not _compiling() and _barely(a, b):
        remember(a, b)
        if not _grad_wanted(a, b):
            return product(a, b)
    if not _compiling() and _kept_by_autocast(a, b):
        return torch.matmul(a, b)
    a, b = _autocasted(a, b)
    return operator.matmul(a, b) if _taken(a, b) else torch.matmul(a, b)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str | None = None) -> Tensor:
    """`activation(x @ weight.T + bias)`, as `torch.nn.functional.linear` has it, by a tuned kernel where one is known
    to be faster; activations as for `matmul`.

    Raises:
        ValueError: an activation that is none.
        NotTunedError: the problem is not tuned, and the miss policy is `error`.
    """
    if activation is not None:
        _check(activation)
    d = linear_at_once(x, weight, bias) if not _dynamo() else None
    if d is None:
        d = _linear(x, weight, bias)
    return d if activation is None else _finished(d, None, activation, None)


def linear_at_once(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
    """By the way of an earlier call of the same form; None where there is none. Not for TorchDynamo to trace."""
    try:
        shape = x.shape
        is_by_library = (shape, id(weight)) in by_library
        known = () if is_by_library else (linear_ways if bias is None else biased_ways).get((shape, weight.shape), ())
    except (RuntimeError, TypeError):
        return None
    except AttributeError:
        return functional.linear(x, weight, bias)
    if is_by_library:
        return functional.linear(x, weight, bias)
    if known and _watched():
        return None
    for fits, free, serve, trains in known:
        if fits(x, weight) if bias is None else fits(x, weight, bias):
            if not trains and serve is functional.linear and type(weight) is torch.nn.Parameter and is_dense(x):
                give_to_library(shape, weight)
            if free or not _grad_enabled():
                return serve(x, weight) if bias is None else serve(x, weight, bias)
            return None if trains else functional.linear(x, weight, bias)
    return None


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if not _compiling() and _barely(x, weight) and (bias is None or _barely(x, bias)):
        remember_linear(x, weight, bias)
        if not _grad_wanted(x, weight) and (bias is None or not _grad_wanted(x, bias)):
            return linear_product(x, weight, bias)
    if (isinstance(bias, Tensor) and bias.dim() != 1) or (not _compiling() and _kept_by_autocast(x, weight)):
        return functional.linear(x, weight, bias)
    x, weight = _autocasted(x, weight)
    bias = bias.to(x.dtype) if bias is not None and _cast_dtype(x, bias) is not None else bias
    return operator.linear(x, weight, bias) if _taken(x, weight) else functional.linear(x, weight, bias)


def _watched() -> bool:
    """Whether torch looks on beneath autograd, as tracers do, or carries gradients forward: no form tells of these."""
    return bool(_modes()) or forward_ad._current_level >= 0


def _plainly(a: Tensor, b: Tensor) -> bool:
    """Whether nothing that torch keeps beside the two tensors takes part in the call: no gradient, no tracing."""
    return _barely(a, b) and not _grad_wanted(a, b)


def _barely(a: Tensor, b: Tensor) -> bool:
    """Whether nothing but a gradient may take part."""
    return (
        type(a) in PLAIN
        and type(b) in PLAIN
        and not _autocast()
        and not _watched()
        and _transforms() is None
        and _tracing() is None
        and not a.is_neg()
        and not b.is_neg()
    )


def _grad_wanted(a: Tensor, b: Tensor) -> bool:
    return _grad_enabled() and (a.requires_grad or b.requires_grad)


def _taken(a: Tensor, b: Tensor) -> bool:
    """Whether the operator is for such tensors: elsewhere torch has its own gradients, its own fusions, its own errors.

    A gradient in forward mode and a transform of `torch.func` are torch's too.
    """
    return (
        type(a) in TAKEN
        and type(b) in TAKEN
        and a.is_cuda
        and a.layout is torch.strided
        and b.layout is torch.strided
        and a.dtype == b.dtype
        and a.dtype in DTYPE_NAMES
        and a.dim() >= 2
        and b.dim() == 2
        and (_compiling() or (_transforms() is None and forward_ad._current_level < 0))
    )


def _cast_dtype(a: Tensor, b: Tensor) -> torch.dtype | None:
    """What autocast multiplies in on a GPU; None when it is off. Elsewhere torch serves, and casts by itself.

    Of what is no tensor torch says what is wrong with it.
    """
    if not (isinstance(a, Tensor) and isinstance(b, Tensor) and a.is_cuda):
        return None
    return torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None


def _kept_by_autocast(a: Tensor, b: Tensor) -> bool:
    """Whether autocast keeps B's cast for its region and nothing trains, as where a model samples in a loop: cast here,
    it would be so at every call. Source: `cached_cast` in torch's autocast_mode.cpp."""
    return (
        not _grad_enabled()
        and _cast_dtype(a, b) is not None
        and b.dtype is torch.float32
        and b.requires_grad
        and b.is_leaf
        and torch.is_autocast_cache_enabled()
    )


def _autocasted(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    dtype = _cast_dtype(a, b)
    if dtype is None or not (a.is_floating_point() and b.is_floating_point()) or torch.float64 in (a.dtype, b.dtype):
        return a, b
    return a.to(dtype), b.to(dtype)


def _into(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    fits = (
        not _compiling()
        and _plainly(a, b)
        and _plainly(out, out)
        and a.dim() == b.dim() == out.dim() == 2
        and out.dtype == a.dtype
        and out.device == a.device
        and out.shape == (a.shape[0], b.shape[1])
        and out.is_contiguous()
        and out.data_ptr() % 16 == 0
        and out.untyped_storage().data_ptr() not in (a.untyped_storage().data_ptr(), b.untyped_storage().data_ptr())
        and (not out.is_inference() or torch.is_inference_mode_enabled())
    )
    if fits and product_into(a, b, out):
        if not out.is_inference():
            increment_version(out)  # a kernel writes past autograd, which may have kept what was there
        return out
    return torch.matmul(a, b, out=out)


def _check(activation: str) -> None:
    """
    Raises:
        ValueError: it is none.
    """
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ValueError(f"activation {activation!r} is not known: use one of {', '.join(ACTIVATIONS)}")


def _finished(d: Tensor, bias: Tensor | None, activation: str | None, out: Tensor | None) -> Tensor:
    """What comes after the product, by torch. Here a kernel that does it on the way out will be asked first.

    `out` is written last: the bias may lie in its memory. Torch's own `out=` does it, with its checks of dtype and
    gradients; a multiplication by 1 changes no bit.
    """
    d = d if bias is None else d + bias
    d = d if activation is None else ACTIVATIONS[activation](d)
    return d if out is None else torch.mul(d, 1, out=out)
