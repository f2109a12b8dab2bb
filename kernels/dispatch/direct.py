"""Products without gradients: one look in a dictionary and one launch, where a kernel is known to be faster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..access import VECTOR_BYTES
from .plan import Plan, Settings, tf32_allowed

if TYPE_CHECKING:
    from .engine import Engine
    from .table import Table

MOST_PLANS: Final = 4096  # forms of calls that are remembered; a program that makes more begins anew
MOST_WAYS: Final = 4  # of calls of the same shapes, as they differ in strides, dtype, or the mode of autograd


class Way(NamedTuple):
    """How the next call of the same form is served, at once.

    Attributes:
        fits: whether the operands are of the form: their class, shape, strides, dtype, device, and whether they want a
            gradient; and whether nothing (autocast, a mode, a transform) stands between the call and the kernel that
            did not then. It is the check of TorchDynamo's guards, in C++: a tenth of what it takes in Python.
        free: whether none of them wants a gradient.
        serve: (A, B) -> D, or None where this memory is not aligned; torch's own function where the library serves.
        trains: whether a kernel takes any of the products of a gradient; where none does, torch has its own.
    """

    fits: Callable[..., bool]
    free: bool
    serve: Callable[..., Tensor | None]
    trains: bool


Ways = dict[tuple[object, object], tuple[Way, ...]]

_settings = Settings()
_engines: dict[int, Engine] = {}
_plans: dict[object, Plan] = {}
_linear_plans: dict[object, Plan] = {}
_biased_plans: dict[object, Plan] = {}
ways: Ways = {}  # by the shapes of A and B
linear_ways: Ways = {}
biased_ways: Ways = {}  # by the same; the check and what serves take the bias too
# (shape of x, id of a parameter) of linear products that are the library's. It is right for whatever comes under that
# name later, and so nothing else of it is checked: a layer that no kernel serves costs no more than torch's own. Layers
# clear it when they get a parameter, which may have the id of one that is gone; no weak reference tells, for torch
# swaps no tensor that has one.
by_library: set[tuple[object, int]] = set()
_REMEMBERED: Final[tuple[dict[Any, Any] | set[Any], ...]] = (
    *(_plans, _linear_plans, _biased_plans),
    *(ways, linear_ways, biased_ways, by_library),
)
_float32 = torch.float32
# TorchDynamo's check of a tensor's form, in C++. It is none of torch's promises: without it calls go the longer way.
_tensor_guards: Any = getattr(torch._C._dynamo.guards, "TensorGuards", None)


def use_table(table: str | Path | Table | None = None, *, miss: str = "nearest", trust: bool = False) -> None:
    """Sets what serves calls from now on, in this process, on every device.

    Args:
        table: a file or a table; None looks in `TILEWRIGHT_TABLE`, the user's data folder and what is shipped.
        miss: what serves a problem that was not tuned: `library`, `nearest` (a kernel tuned for another m, where it is
            predicted to be faster, else the library) or `error`.
        trust: use results of another toolchain too, whose speed nobody has measured here.

    Raises:
        ValueError: a miss policy that is none, or a file that is not there or no table.
    """
    from .lookup import Miss
    from .table import Table, read_table

    if miss not in list(Miss):
        raise ValueError(f"miss policy {miss!r} is none: use one of {', '.join(Miss)}")
    if isinstance(table, (str, Path)):
        if not Path(table).is_file():
            raise ValueError(f"table {table} is not there: name a file of `tilewright export --format table`")
        read_table(Path(table).read_bytes(), str(table))  # what is no table is told now, not at the first call
    elif table is not None and not isinstance(table, Table):
        raise ValueError(f"table is a {type(table).__name__}: give a path, a Table or None")
    _settings.named = Path(table) if isinstance(table, str) else table
    _settings.miss, _settings.trust = miss, trust
    for known in (_engines, *_REMEMBERED):
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
    """`x @ weight.T + bias`, without gradients."""
    plans = _linear_plans if bias is None else _biased_plans
    try:
        key = _key(x, weight)
    except RuntimeError:
        return functional.linear(x, weight, bias)
    d = None
    if bias is None or adds(x, weight, bias):
        serve = (plans.get(key) or _planned(plans, key, x, weight)).serve
        if serve is not None:
            d = serve(x, weight) if bias is None else serve(x, weight, bias)
    return functional.linear(x, weight, bias) if d is None else d


def adds(x: Tensor, weight: Tensor, bias: Tensor) -> bool:
    """Whether a kernel may add it: one dense number a column, of D's dtype."""
    return (
        bias.dtype is x.dtype
        and bias.shape == weight.shape[:1]
        and bias.is_contiguous()
        and bias.get_device() == x.get_device()
    )


def plan_of(a: Tensor, b: Tensor, *, transposed: bool = False, bias: bool = False) -> Plan:
    """How `a @ b`, or `a @ b.T`, and that with a dense bias, is served: compiled and loaded if it was not yet."""
    return _plan(_biased_plans if transposed and bias else _linear_plans if transposed else _plans, a, b)


def _plan(plans: dict[object, Plan], a: Tensor, b: Tensor) -> Plan:
    key = _key(a, b)
    return plans.get(key) or _planned(plans, key, a, b)


def _key(a: Tensor, b: Tensor) -> tuple[object, ...]:
    aligned = _are_aligned(a, b)
    key = (a.shape, b.shape, a.stride(), b.stride(), a.dtype, b.dtype, a.get_device(), b.get_device(), aligned)
    return (*key, tf32_allowed()) if a.dtype is _float32 else key


def _are_aligned(a: Tensor, b: Tensor) -> bool:
    return not (a.data_ptr() | b.data_ptr()) % VECTOR_BYTES


def _planned(plans: dict[object, Plan], key: object, a: Tensor, b: Tensor) -> Plan:
    from .lookup import Choice, Origin
    from .wanted import wanted_of

    if len(plans) >= MOST_PLANS:
        for known in _REMEMBERED:
            known.clear()
    if not a.is_cuda:
        return plans.setdefault(key, Plan(Choice(Origin.LIBRARY, "on a CPU torch serves"), None))
    if torch.cuda.is_current_stream_capturing():
        why = "a CUDA graph is being captured, and this was never called before: its kernel is not loaded"
        return Plan(Choice(Origin.LIBRARY, why), None)
    wanted = wanted_of(a, b.t() if plans is not _plans and b.dim() == 2 else b)
    engine = engine_of(a.get_device())
    plan = engine.plan_with_bias(wanted) if plans is _biased_plans else engine.plan(wanted)
    return plans.setdefault(key, plan)


def remember(a: Tensor, b: Tensor) -> None:
    """Makes a way for `a @ b`. Called where autograd, as it is now, is all that may stand beside the call."""
    _remember(ways, (a, b), _library(a, b), lambda: _plan(_plans, a, b))


def remember_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """Makes a way for `x @ weight.T + bias`."""
    if bias is None:
        _remember(linear_ways, (x, weight), functional.linear, lambda: _plan(_linear_plans, x, weight))
    elif adds(x, weight, bias):
        _remember(biased_ways, (x, weight, bias), functional.linear, lambda: _plan(_biased_plans, x, weight))


def _remember(
    known: Ways, operands: tuple[Tensor, ...], library: Callable[..., Tensor], plan: Callable[[], Plan]
) -> None:
    a, b, *_ = operands
    shapes = (a.shape, b.shape)
    if len(known.get(shapes, ())) >= MOST_WAYS or any(one.layout is not torch.strided for one in operands):
        return
    if a.is_cuda and (a.dtype is _float32 or torch.cuda.is_current_stream_capturing()):
        return  # what serves fp32 changes with the permission for tf32
    if _tensor_guards is None or not _are_aligned(a, b):  # a way does not look at addresses
        return
    free = not any(one.requires_grad for one in operands)
    serve = plan().serve
    trains = not free and (serve is not None or _trains(a, b, transposed=known is not ways))
    made = Way(_fits(operands), free, serve or library, trains)
    known[shapes] = (*known.get(shapes, ()), made)


def give_to_library(shape: object, weight: Tensor) -> None:
    if len(by_library) >= MOST_PLANS:
        by_library.clear()
    by_library.add((shape, id(weight)))


def is_dense(x: Tensor) -> bool:
    """Whether a kernel that does not take it is none for other memory of its shape either."""
    return x.is_contiguous() and not x.data_ptr() % VECTOR_BYTES


def _library(a: Tensor, b: Tensor) -> Callable[..., Tensor]:
    """What torch's `matmul` comes to in the end: for two matrices `mm` is had for less."""
    matrices = a.dim() == b.dim() == 2 and a.shape[1] == b.shape[0]
    return torch.mm if matrices else torch.matmul


def _fits(operands: tuple[Tensor, ...]) -> Callable[..., bool]:
    check: Callable[..., bool] = _tensor_guards(
        *operands,
        dynamic_dims_sizes=[list(one.shape) for one in operands],
        dynamic_dims_strides=[list(one.stride()) for one in operands],
    ).check
    return check


def _trains(a: Tensor, b: Tensor, *, transposed: bool) -> bool:
    """Whether a kernel serves one of the products that make the gradients."""
    if not a.is_cuda or a.dim() < 2 or b.dim() != 2 or a.shape[-1] != b.shape[1 if transposed else 0]:
        return False
    with torch.no_grad():
        d = torch.empty((*a.shape[:-1], b.shape[0 if transposed else 1]), dtype=a.dtype, device=a.device)
        rows, rows_of_d = (one.reshape(-1, one.shape[-1]) for one in (a, d))
        of_b = (rows_of_d.t(), rows) if transposed else (rows.t(), rows_of_d)
        return any(plan_of(*pair).serve is not None for pair in ((d, b if transposed else b.t()), of_b))
