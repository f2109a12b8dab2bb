"""Tilewright finds, proves, keeps and uses the fastest matmul kernel for each problem on each GPU."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .kernels.dispatch.call import linear, matmul
    from .kernels.dispatch.direct import use_table
    from .kernels.dispatch.explain import explain, warmup
    from .kernels.dispatch.modules import Linear, restore
    from .kernels.dispatch.optimize import optimize
    from .kernels.dispatch.record import record
    from .kernels.problem import Problem
    from .tuner.api import TuneOptions, best, tune

# The public name and the module that serves it. Nothing is imported before it is asked for.
_PUBLIC = {
    "Linear": "kernels.dispatch.modules",
    "Problem": "kernels.problem",
    "TuneOptions": "tuner.api",
    "best": "tuner.api",
    "explain": "kernels.dispatch.explain",
    "linear": "kernels.dispatch.call",
    "matmul": "kernels.dispatch.call",
    "optimize": "kernels.dispatch.optimize",
    "record": "kernels.dispatch.record",
    "restore": "kernels.dispatch.modules",
    "tune": "tuner.api",
    "use_table": "kernels.dispatch.direct",
    "warmup": "kernels.dispatch.explain",
}

__all__ = [
    "Linear",
    "Problem",
    "TuneOptions",
    "__version__",
    "best",
    "explain",
    "linear",
    "matmul",
    "optimize",
    "record",
    "restore",
    "tune",
    "use_table",
    "warmup",
]


def __getattr__(name: str) -> Any:
    module = _PUBLIC.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(sorted(__all__))}")
    found = getattr(importlib.import_module(f".{module}", __name__), name)
    globals()[name] = found  # once: to come through here for every `tilewright.matmul` would cost 4 us a call
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
