"""Products without gradients: one look in a dictionary and one launch, where a kernel is known to be faster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor
from torch.nn import functional

from .plan import Plan, Settings, tf32_allowed

if TYPE_CHECKING:
    from .engine import Engine
    from .table import Table

MOST_PLANS: Final = 4096  # forms of calls that are remembered; a program that makes more begins anew

_settings = Settings()
_engines: dict[int, Engine] = {}
_plans: dict[object, Plan] = {}
_linear_plans: dict[object, Plan] = {}
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
    for known in (_engines, _plans, _linear_plans):
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
    d = serve(a, b, None) if serve is not None else None
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
    d = plan.serve(x, weight, None)
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
        plans.clear()
    return plans.setdefault(key, plan)
