"""What the libraries share: a family with no axes, whose one config is the library's own choice."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from .. import fused
from ..config import Config
from ..epilogue import steps_of
from ..family import Call, Launch
from ..problem import DTYPES

if TYPE_CHECKING:
    import torch

Precision = Callable[[], AbstractContextManager[None]]


def matmul_into(call: Call, precision: Precision = nullcontext) -> Launch:
    """`torch.mm` of the call's operands into D, under what `precision` sets for the time of the launch, and the steps
    of an epilogue after it, each with a kernel of its own; a bias that comes first is added within `torch.addmm`, and
    a second product has memory of its own."""
    skipped, product = _product(call, precision)
    if call.up is None or call.problem.products == 1:
        return fused.then(product, call, skipped)
    other, found = _paired(call, call.up, precision)

    def launch_both() -> None:
        other()
        product()

    return fused.then(launch_both, call, skipped, found)


def _paired(call: Call, up: torch.Tensor, precision: Precision) -> tuple[Launch, torch.Tensor]:
    """What multiplies A with `up`, and where that goes."""
    import torch  # here and below, for a compiling process that lists the families does without its memory and seconds

    found = torch.empty_like(call.d)
    plain = replace(call, problem=replace(call.problem, epilogue=""), b=up, d=found, up=None)
    return _product(plain, precision)[1], found


def _product(call: Call, precision: Precision) -> tuple[int, Launch]:
    """The product, and how many steps of the epilogue it does with it."""
    import torch

    a, b, d, bias = call.a, call.b, call.d, call.bias
    if DTYPES[call.problem.out_dtype].storage == DTYPES[call.problem.dtype].storage:
        if bias is not None and steps_of(call.problem.epilogue)[:1] == ("bias",):

            def launch_biased() -> None:
                with precision():
                    torch.addmm(bias, a, b, out=d)

            return 1, launch_biased

        def launch() -> None:
            with precision():
                torch.mm(a, b, out=d)

        return 0, launch

    def launch_wider() -> None:
        with precision():
            torch.mm(a, b, out_dtype=d.dtype, out=d)

    return 0, launch_wider


def only(name: str) -> tuple[Config, ...]:
    return (Config.of(name),)
