"""How calls of one form are served, and what sets it for the process: all that a call needs to have loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import torch

if TYPE_CHECKING:
    from .lookup import Choice
    from .table import Table

DTYPE_NAMES: Final = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}


class Serve(Protocol):
    """(A, B, D or None) -> D, or None where this memory is not aligned; A and B are of the plan's form."""

    def __call__(self, a: torch.Tensor, b: torch.Tensor, d: torch.Tensor | None = None, /) -> torch.Tensor | None: ...


@dataclass(slots=True)
class Settings:
    """What `use_table` sets: for the process, for every device."""

    named: Path | Table | None = None
    miss: str = "nearest"
    trust: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """How calls of one form are served: by a kernel, or by the library when `serve` is None.

    Attributes:
        pays_beside_an_addition: whether the kernel is so much faster than the library that torch may add a bias after
            it, where the library does so on its way.
    """

    choice: Choice
    serve: Serve | None
    pays_beside_an_addition: bool = False


class NotServed(Exception):
    """A call that a kernel cannot take; the message says why."""


def tf32_allowed() -> bool:
    """Whether torch multiplies fp32 in tf32 now; it refuses to say so the old way once it was set the new way."""
    try:
        return bool(torch.backends.cuda.matmul.allow_tf32)
    except RuntimeError:
        return bool(torch.backends.cuda.matmul.fp32_precision == "tf32")
