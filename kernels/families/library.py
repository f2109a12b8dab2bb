"""What the libraries share: a family with no axes, whose one config is the library's own choice."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from ..config import Config
from ..family import Call, Launch
from ..problem import DTYPES


def matmul_into(call: Call, precision: Callable[[], AbstractContextManager[None]] = nullcontext) -> Launch:
    """`torch.mm` of the call's operands into D, under what `precision` sets for the time of the launch."""
    import torch  # here, for a compiling process that lists the families does without its memory and its seconds

    a, b, d = call.a, call.b, call.d
    if DTYPES[call.problem.out_dtype].storage == DTYPES[call.problem.dtype].storage:

        def launch() -> None:
            with precision():
                torch.mm(a, b, out=d)

        return launch

    def launch_wider() -> None:
        with precision():
            torch.mm(a, b, out_dtype=d.dtype, out=d)

    return launch_wider


def only(name: str) -> tuple[Config, ...]:
    return (Config.of(name),)
