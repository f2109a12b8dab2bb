"""The roofline is the larger of two times, and is not made up where nothing was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tilewright.kernels.device import Device, nominal
from tilewright.kernels.problem import Problem
from tilewright.tests import recorded
from tilewright.tuner.ceilings import known_ceilings
from tilewright.tuner.evaluate.replay import ReplayMeter, open_replay
from tilewright.tuner.roofline import Ceilings, roofline_us
from tilewright.tuner.store import Store, open_store

CEILINGS = Ceilings(nominal("sm90"), datetime(2026, 1, 31, tzinfo=UTC), 4000.0, bf16_tflops=800.0)


def test_much_to_multiply_takes_what_the_multiplier_needs() -> None:
    problem = Problem(4096, 4096, 4096)
    assert roofline_us(problem, CEILINGS) == pytest.approx(problem.flops / 800e6)


def test_little_to_multiply_takes_what_the_memory_needs() -> None:
    problem = Problem(1, 4096, 4096)
    assert roofline_us(problem, CEILINGS) == pytest.approx(problem.bytes_moved / 4e6)


def test_what_was_not_measured_bounds_nothing() -> None:
    assert roofline_us(Problem(1, 1, 1), None) is None
    assert roofline_us(Problem(1, 1, 1, "fp16"), CEILINGS) is None
    assert roofline_us(Problem(0, 8, 8), CEILINGS) == pytest.approx(64 * 2 / 4e6)


class Measured(ReplayMeter):
    """A replay whose device can be measured, and counts how often it is."""

    asked = 0
    found: Ceilings | None = CEILINGS

    @property
    def device(self) -> Device:
        return CEILINGS.device

    def ceilings(self) -> Ceilings | None:  # type: ignore[override]
        self.asked += 1
        return self.found


@pytest.fixture
def meter(tmp_path: Path) -> Measured:
    plain = open_replay(recorded.write(tmp_path, recorded.PROBLEM))
    return Measured(plain._landscapes, plain.device, plain._environment)


@pytest.fixture
def store() -> Iterator[Store]:
    with open_store("memory://") as opened:
        yield opened


def test_ceilings_are_measured_once_for_each_device(meter: Measured, store: Store) -> None:
    assert known_ceilings(meter, store) == known_ceilings(meter, store) == CEILINGS
    assert meter.asked == 1
    assert store.ceilings() == [CEILINGS]


def test_those_of_another_power_cap_are_not_ours(meter: Measured, store: Store) -> None:
    capped = replace(CEILINGS, device=replace(CEILINGS.device, power_limit_w=300))
    store.add_ceilings(capped)
    assert known_ceilings(meter, store) == CEILINGS
    assert meter.asked == 1


def test_where_there_are_none_none_are_kept(meter: Measured, store: Store) -> None:
    meter.found = None
    assert known_ceilings(meter, store) is None
    assert store.ceilings() == []
