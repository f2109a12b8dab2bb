"""Which config serves a problem: exact, near with a bounded loss, or the library."""

from __future__ import annotations

import dataclasses

import pytest

from tilewright.kernels.dispatch.lookup import GAIN, Miss, NotTunedError, Origin, lookup
from tilewright.kernels.dispatch.table import Table
from tilewright.kernels.problem import Problem

from .tables import CUBLAS, DEVICE, kernel, problem, standing, table


def test_a_tuned_problem_is_served_by_its_winner() -> None:
    choice = lookup(table({16: [(kernel(), 1.2), (CUBLAS, 1.0)]}), problem(16), Miss.ERROR)
    assert (choice.origin, choice.config, choice.speed, choice.loss) == (Origin.EXACT, kernel(), 1.2, 0.0)


def test_the_library_serves_where_it_won_or_may_have_won() -> None:
    won = lookup(table({16: [(CUBLAS, 1.0), (kernel(), 0.9)]}), problem(16))
    assert (won.origin, won.config) == (Origin.LIBRARY, None)
    assert "cublas won on 16x4096x4096-bf16-nt" in won.why
    unsure = Table(DEVICE, {problem(16): (standing(kernel(), 1.01, low=0.98),)})
    assert "not surely ahead" in lookup(unsure, problem(16)).why
    alone = Table(DEVICE, {problem(16): (dataclasses.replace(standing(kernel(), 2.0), ratio=None),)})
    assert "never timed beside the library" in lookup(alone, problem(16)).why


def test_a_bias_is_served_as_it_was_tuned_with_one() -> None:
    biased = dataclasses.replace(problem(16), epilogue="bias")
    plain = table({16: [(kernel(), 1.2), (CUBLAS, 1.0)]})
    assert "nothing is tuned of n=4096, k=4096, bf16, bias" in lookup(plain, biased).why
    tuned = Table(DEVICE, {**plain.winners, biased: (standing(kernel(32), 1.1), standing(CUBLAS, 1.0))})
    assert lookup(tuned, biased).config == kernel(32)
    assert lookup(tuned, dataclasses.replace(biased, m=9)).config == kernel(32)


def test_one_row_of_tiles_serves_fewer_rows_as_fast() -> None:
    choice = lookup(table({16: [(kernel(16), 1.2), (CUBLAS, 1.0)]}), problem(3))
    assert (choice.origin, choice.config, choice.measured) == (Origin.NEAR, kernel(16), problem(16))
    assert choice.speed == pytest.approx(1.2)


def test_the_loss_is_bounded_by_what_neighbours_on_both_sides_measured() -> None:
    both = {32: [(kernel(16), 1.5), (kernel(32), 1.2)], 64: [(kernel(32), 1.4), (kernel(16), 1.3)]}
    choice = lookup(table(both), problem(48))
    assert choice.origin is Origin.NEAR
    assert choice.config == kernel(16)
    assert choice.speed == pytest.approx(1.3)
    assert choice.loss == pytest.approx(1.4 / 1.3 - 1)
    assert "lose at most 7.7%" in choice.why


def test_rows_that_are_multiplied_for_nothing_count() -> None:
    narrow = lookup(table({256: [(kernel(128), 1.05), (CUBLAS, 1.0)]}), problem(260))
    assert narrow.origin is Origin.LIBRARY
    assert f"less than the {GAIN}" in narrow.why
    assert lookup(table({256: [(kernel(128), 1.05), (CUBLAS, 1.0)]}), problem(384)).origin is Origin.NEAR


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (problem(1024), "m=1024 lies too far from what is tuned, m=64"),
        (Problem(64, 4096, 2048), "nothing is tuned of n=4096, k=2048"),
        (Problem(64, 4096, 4096, "fp16"), "nothing is tuned"),
        (Problem(64, 4096, 4096, layout="nn"), "nothing is tuned"),
    ],
)
def test_what_is_not_near_is_left_to_the_library(wanted: Problem, why: str) -> None:
    choice = lookup(table({64: [(kernel(), 1.5)]}), wanted)
    assert choice.origin is Origin.LIBRARY
    assert why in choice.why


def test_a_miss_is_served_as_the_policy_says() -> None:
    tuned = table({64: [(kernel(64), 1.5)]})
    assert lookup(tuned, problem(63), Miss.NEAREST).origin is Origin.NEAR
    assert "the miss policy is library" in lookup(tuned, problem(63), Miss.LIBRARY).why
    with pytest.raises(NotTunedError, match="run `tilewright tune 63x4096x4096 --dtype bf16 --layout nt` and export"):
        lookup(tuned, problem(63), Miss.ERROR)
    with pytest.raises(NotTunedError):
        lookup(None, problem(64), Miss.ERROR)
    assert "no table is in use" in lookup(None, problem(64)).why
