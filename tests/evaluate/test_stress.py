"""Many launches find what one check does not; what is right every time passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tilewright.kernels.operands import random_operands
from tilewright.kernels.problem import Problem
from tilewright.tuner.evaluate.check import Reference, reference
from tilewright.tuner.evaluate.stress import LAUNCHES, stress
from tilewright.tuner.trial import Check

PROBLEM = Problem(16, 24, 32, "fp32")


def stressed(spoil: Callable[[torch.Tensor, Reference, int], None]) -> tuple[Check, int]:
    """The check, and how many launches there were; `spoil` is given D, what is right, and the launch's number."""
    generator = torch.Generator("cpu")
    generator.manual_seed(0)
    operands = random_operands(PROBLEM, generator)
    against, launches = reference(PROBLEM, operands), 0

    def launch() -> None:
        nonlocal launches
        torch.mm(operands.a, operands.b, out=operands.d)
        spoil(operands.d, against, launches)
        launches += 1

    return stress(launch, operands.d, against), launches


def test_what_is_right_every_time_passes() -> None:
    check, launches = stressed(lambda d, against, number: None)
    assert check.passed
    assert 1 < launches <= LAUNCHES


@pytest.mark.parametrize("by", [0.5, -0.5, float("inf"), float("nan")])
def test_one_wrong_launch_is_found(by: float) -> None:
    def spoil(d: torch.Tensor, against: Reference, number: int) -> None:
        if number == 7:
            d[3, 5] += by

    check, launches = stressed(spoil)
    assert launches > 8
    assert not check.passed
    assert (check.row, check.column) == (3, 5)


def test_an_element_that_one_launch_left_out_is_found() -> None:
    def spoil(d: torch.Tensor, against: Reference, number: int) -> None:
        if number == 7:
            d[15, 23] = float("nan")

    assert not stressed(spoil)[0].passed
