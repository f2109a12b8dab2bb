"""Whether a result was got with the toolchain of today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .result import Environment

# What changes the code that runs. The Python that launches it and the commit of this project do not: the kernel's own
# source is in `kernel_hash`.
TOOLCHAIN: Final = ("triton", "torch", "cuda", "driver")
COMPARED: Final = (*TOOLCHAIN, "kernel_hash")

# Today's environment: one for all families, or one a family, as each has a kernel source of its own. None: not known,
# as on a machine that only reads results.
Today = Environment | Mapping[str, Environment] | None


def staleness(environment: Environment, family: str, today: Today) -> tuple[str, ...]:
    """What differs from today, as in `triton 3.6.0, now 3.7.1`; empty when nothing does or today is not known."""
    now = today.get(family) if isinstance(today, Mapping) else today
    if now is None:
        return () if today is None else (f"family {family}, now gone",)
    pairs = ((name, getattr(environment, name), getattr(now, name)) for name in COMPARED)
    return tuple(f"{name} {then or 'unknown'}, now {here or 'unknown'}" for name, then, here in pairs if then != here)
