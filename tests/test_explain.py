"""Every rejected config has its constraint, the axis that matters leads, and what is left is weighed."""

from __future__ import annotations

import math

import pytest

from tilewright.kernels import families
from tilewright.kernels.config import Config
from tilewright.kernels.device import nominal
from tilewright.kernels.problem import Problem
from tilewright.tuner.evaluate.meter import now
from tilewright.tuner.explain import explain
from tilewright.tuner.store import open_store
from tilewright.tuner.trial import Environment, Measurement, Outcome, Trial

PROBLEM = Problem(512, 4096, 4096)
DEVICE = nominal("sm90")
ENVIRONMENT = Environment("3.7.1", "2.13.0", "13.0", "580.1", "3.11.7", "0123456789abcdef")


def trial(config: Config) -> Trial:
    """By its block_m alone, the fastest at 64."""
    time_us = 20.0 * 1.5 ** abs(math.log2(config.number("block_m") / 64))
    return Trial(
        PROBLEM, DEVICE, config, ENVIRONMENT, Outcome.MEASURED, now(), measurement=Measurement((time_us,), "graph")
    )


def test_each_constraint_is_charged_with_what_it_rejected() -> None:
    with open_store("memory://") as store:
        found = explain(PROBLEM, DEVICE, store)
    assert {one.family for one in found.limits} == {
        one.name for one in families.FAMILIES.values() if not one.is_library
    }
    for one in found.limits:
        assert one.valid + sum(count for _, count in one.rejected) == one.combinations
        space = families.FAMILIES[one.family].space(PROBLEM, DEVICE)
        assert one.valid == sum(1 for _ in space)
        assert all(constraint and count > 0 for constraint, count in one.rejected)
    assert found.size == sum(one.valid for one in found.limits)
    assert (found.tried, found.importance, found.expected_gain) == (0, (), None)


def test_the_axis_that_matters_leads_and_less_is_left_once_the_best_is_known() -> None:
    space = sorted(families.FAMILIES["tiled"].space(PROBLEM, DEVICE))[::9]
    slow = [config for config in space if config.number("block_m") > 64]
    gains = []
    with open_store("memory://") as store:
        for part in (slow, [config for config in space if config not in slow]):
            store.add_all([trial(config) for config in part], [])
            found = explain(PROBLEM, DEVICE, store)
            assert found.expected_gain is not None
            gains.append(found.expected_gain)
    assert found.tried == len(space)
    assert found.importance[0][0] == "block_m"
    assert sum(share for _, share in found.importance) == pytest.approx(1.0)
    assert 0 <= gains[1] < gains[0] < 1
