"""What trials say of a space."""

from __future__ import annotations

import math

from tilewright.kernels.config import Config
from tilewright.tuner.search import axis_importance, promise

from .spaces import bowl, bowl_us

RESULTS = [(config, bowl_us(config)) for config in bowl()]
MEASURED = [(config, time_us) for config, time_us in RESULTS if time_us is not None]


def test_the_axis_that_decides_is_the_most_important() -> None:
    by_warps = [(config, 10.0 + abs(config.number("warps") - 4)) for config, _ in MEASURED]
    shares = axis_importance(by_warps, bowl())
    assert next(iter(shares)) == "warps"
    assert math.isclose(sum(shares.values()), 1.0, rel_tol=1e-6)
    assert set(shares) == {"family", "m", "n", "warps", "order", "split"}


def test_too_few_results_say_nothing() -> None:
    assert axis_importance(MEASURED[:3], bowl()) == {}
    assert promise(bowl(), RESULTS[:3]) is None


def test_the_promise_falls_as_the_best_is_found() -> None:
    assert promise(bowl(), RESULTS) == 0.0
    slow = sorted(MEASURED, key=lambda result: -result[1])[:40]
    early = promise(bowl(), slow)
    late = promise(bowl(), [*RESULTS[::3], *sorted(MEASURED, key=lambda result: result[1])[:50]])
    assert early is not None
    assert late is not None
    assert 0 <= late < early < 1


def test_what_the_space_does_not_hold_is_passed_over() -> None:
    foreign = [(Config.of("none", x=1), 1.0)]
    assert promise(bowl(), [*RESULTS[:200], *foreign]) == promise(bowl(), RESULTS[:200])
