"""How calls of one form are served, and what sets it for the process: all that a call needs to have loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from .lookup import Choice
    from .table import Table

DTYPE_NAMES: Final = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}

# (A, B, D or None, which need not be given) -> D, or None where this memory is not aligned; of a plan with a bias, that
# stands in place of D. A and B are of the form that the plan was made for.
Serve = Callable[..., torch.Tensor | None]


@dataclass(slots=True)
class Settings:
    """What `use_table` sets: for the process, for every device."""

    named: Path | Table | None = None
    miss: str = "nearest"
    trust: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """How calls of one form are served: by a kernel, or by the library when `serve` is None."""

    choice: Choice
    serve: Serve | None


class NotServed(Exception):
    """A call that a kernel cannot take; the message says why."""


def tf32_allowed() -> bool:
    """Whether torch multiplies fp32 in tf32 now; it refuses to say so the old way once it was set the new way."""
    try:
        return bool(torch.backends.cuda.matmul.allow_tf32)
    except RuntimeError:
        return bool(torch.backends.cuda.matmul.fp32_precision == "tf32")
