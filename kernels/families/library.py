"""What the libraries share: a family with no axes, whose one config is the library's own choice."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from .. import fused
from ..config import Config
from ..epilogue import steps_of
from ..family import Call, Launch
from ..problem import DTYPES


def matmul_into(call: Call, precision: Callable[[], AbstractContextManager[None]] = nullcontext) -> Launch:
    """`torch.mm` of the call's operands into D, under what `precision` sets for the time of the launch, and the steps
    of an epilogue after it, each with a kernel of its own; a bias that comes first is added within `torch.addmm`."""
    import torch  # here, for a compiling process that lists the families does without its memory and its seconds

    a, b, d, bias = call.a, call.b, call.d, call.bias
    if DTYPES[call.problem.out_dtype].storage == DTYPES[call.problem.dtype].storage:
        if bias is not None and steps_of(call.problem.epilogue)[:1] == ("bias",):

            def launch_biased() -> None:
                with precision():
                    torch.addmm(bias, a, b, out=d)

            return fused.then(launch_biased, call, skipped=1)

        def launch() -> None:
            with precision():
                torch.mm(a, b, out=d)

        return fused.then(launch, call)

    def launch_wider() -> None:
        with precision():
            torch.mm(a, b, out_dtype=d.dtype, out=d)

    return fused.then(launch_wider, call)


def only(name: str) -> tuple[Config, ...]:
    return (Config.of(name),)
