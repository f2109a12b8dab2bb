"""Products without gradients: one look in a dictionary and one launch, where a kernel is known to be faster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from .plan import Plan, Settings, tf32_allowed

if TYPE_CHECKING:
    from .engine import Engine
    from .table import Table

MOST_PLANS: Final = 4096  # forms of calls that are remembered; a program that makes more begins anew
MOST_WAYS: Final = 4  # of calls of the same shapes, as they differ in strides, dtype, or the mode of autograd


class Way(NamedTuple):
    """How the next call of the same form is served, at once.

    Attributes:
        fits: whether two tensors are of the form: their class, shape, strides, dtype, device, and whether they want a
            gradient; and whether nothing (autocast, a mode, a transform) stands between the call and the kernel that
            did not then. It is the check of TorchDynamo's guards, in C++: a tenth of what it takes in Python.
        free: whether neither wants a gradient.
        serve: (A, B) -> D, or None where this memory is not aligned; torch's own function where the library serves.
        trains: whether a kernel takes any of the products of a gradient; where none does, torch has its own.
    """

    fits: Callable[[Tensor, Tensor], bool]
    free: bool
    serve: Callable[..., Tensor | None]
    trains: bool


Ways = dict[tuple[object, object], tuple[Way, ...]]

_settings = Settings()
_engines: dict[int, Engine] = {}
_plans: dict[object, Plan] = {}
_linear_plans: dict[object, Plan] = {}
ways: Ways = {}  # by the shapes of A and B
linear_ways: Ways = {}
_float32 = torch.float32


def use_table(table: str | Path | Table | None = None, *, miss: str = "nearest", trust: bool = False) -> None:
    """Sets what serves calls from now on, in this process, on every device.

    Args:
        table: a file or a table; None looks in `TILEWRIGHT_TABLE`, the user's data folder and what is shipped.
        miss: what serves a problem that was not tuned: `library`, `nearest` (a kernel tuned for another m, where it is
            predicted to be faster, else the library) or `error`.
        trust: use results of another toolchain too, whose speed nobody has measured here.

    Raises:
        ValueError: a miss policy that is none.
    """
    from .lookup import Miss

    if miss not in list(Miss):
        raise ValueError(f"miss policy {miss!r} is none: use one of {', '.join(Miss)}")
    _settings.named = Path(table) if isinstance(table, str) else table
    _settings.miss, _settings.trust = miss, trust
    for known in (_engines, _plans, _linear_plans, ways, linear_ways):
        known.clear()


def settings() -> Settings:
    return _settings


def engine_of(index: int) -> Engine:
    """What serves GPU `index`. The first time, it reads a table; never during a capture."""
    from .engine import Engine  # here and below: `import tilewright` costs nothing that a CPU does not need

    found = _engines.get(index)
    return found or _engines.setdefault(index, Engine(index, _settings))


def product(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b`, without gradients."""
    try:
        key = _key(a, b)
    except RuntimeError:  # no strides: a sparse tensor
        return torch.matmul(a, b)
    serve = (_plans.get(key) or _planned(_plans, key, a, b)).serve
    d = serve(a, b) if serve is not None else None
    return torch.matmul(a, b) if d is None else d


def product_into(a: Tensor, b: Tensor, out: Tensor) -> bool:
    """Whether a kernel has written `a @ b` into `out`, which is a dense matrix of the right form."""
    serve = plan_of(a, b).serve
    return serve is not None and serve(a, b, out) is not None


def linear_product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x @ weight.T + bias`, without gradients. The library adds a bias within its kernel, and we after ours."""
    try:
        key = _key(x, weight)
    except RuntimeError:
        return functional.linear(x, weight, bias)
    plan = _linear_plans.get(key) or _planned(_linear_plans, key, x, weight)
    if plan.serve is None or (bias is not None and not (plan.pays_beside_an_addition and _adds(x, weight, bias))):
        return functional.linear(x, weight, bias)
    d = plan.serve(x, weight)
    if d is None:
        return functional.linear(x, weight, bias)
    return d if bias is None else d.add_(bias)


def _adds(x: Tensor, weight: Tensor, bias: Tensor) -> bool:
    return bias.dtype is x.dtype and bias.shape == weight.shape[:1] and bias.get_device() == x.get_device()


def plan_of(a: Tensor, b: Tensor, *, transposed: bool = False) -> Plan:
    """How `a @ b`, or `a @ b.T`, is served: compiled and loaded if it was not yet."""
    plans = _linear_plans if transposed else _plans
    key = _key(a, b)
    return plans.get(key) or _planned(plans, key, a, b)


def _key(a: Tensor, b: Tensor) -> tuple[object, ...]:
    key = (a.shape, b.shape, a.stride(), b.stride(), a.dtype, b.dtype, a.get_device(), b.get_device())
    return (*key, tf32_allowed()) if a.dtype is _float32 else key


def _planned(plans: dict[object, Plan], key: object, a: Tensor, b: Tensor) -> Plan:
    from .engine import wanted_of
    from .lookup import Choice, Origin

    if not a.is_cuda:
        return plans.setdefault(key, Plan(Choice(Origin.LIBRARY, "on a CPU torch serves"), None))
    if torch.cuda.is_current_stream_capturing():
        why = "a CUDA graph is being captured, and this was never called before: its kernel is not loaded"
        return Plan(Choice(Origin.LIBRARY, why), None)
    wanted = wanted_of(a, b.t() if plans is _linear_plans and b.dim() == 2 else b)
    plan = engine_of(a.get_device()).plan(wanted)
    if len(plans) >= MOST_PLANS:
        for known in (plans, ways, linear_ways):
            known.clear()
    return plans.setdefault(key, plan)


def remember(a: Tensor, b: Tensor, *, transposed: bool = False) -> None:
    """Makes a way for calls of this form. Called where autograd, as it is now, is all that stands beside the call."""
    known, shapes = linear_ways if transposed else ways, (a.shape, b.shape)
    if len(known.get(shapes, ())) >= MOST_WAYS or a.layout is not torch.strided or b.layout is not torch.strided:
        return
    if a.is_cuda and (a.dtype is _float32 or torch.cuda.is_current_stream_capturing()):
        return  # what serves fp32 changes with the permission for tf32
    plan = plan_of(a, b, transposed=transposed)
    library = functional.linear if transposed else _library(a, b)
    free = not (a.requires_grad or b.requires_grad)
    trains = not free and _trains(a, b, transposed)
    made = Way(_fits(a, b), free, plan.serve or library, trains)
    known[shapes] = (*known.get(shapes, ()), made)


def _library(a: Tensor, b: Tensor) -> Callable[..., Tensor]:
    """What torch's `matmul` comes to in the end: for two matrices `mm` is had for less."""
    matrices = a.dim() == b.dim() == 2 and a.shape[1] == b.shape[0]
    return torch.mm if matrices else torch.matmul


def _fits(a: Tensor, b: Tensor) -> Callable[[Tensor, Tensor], bool]:
    sizes, strides = [list(a.shape), list(b.shape)], [list(a.stride()), list(b.stride())]
    guards: Any = torch._C._dynamo.guards  # typed, in torch, as something else
    check: Callable[[Tensor, Tensor], bool] = guards.TensorGuards(
        a, b, dynamic_dims_sizes=sizes, dynamic_dims_strides=strides
    ).check
    return check


def _trains(a: Tensor, b: Tensor, transposed: bool) -> bool:
    """Whether a kernel serves the product, or one of those that make its gradients."""
    if not a.is_cuda or a.dim() < 2 or b.dim() != 2:
        return False
    if plan_of(a, b, transposed=transposed).serve is not None:
        return True
    with torch.no_grad():
        d = torch.empty((*a.shape[:-1], b.shape[0 if transposed else 1]), dtype=a.dtype, device=a.device)
        rows, rows_of_d = (one.reshape(-1, one.shape[-1]) for one in (a, d))
        of_b = (rows_of_d.t(), rows) if transposed else (rows.t(), rows_of_d)
        return any(plan_of(*pair).serve is not None for pair in ((d, b if transposed else b.t()), of_b))
