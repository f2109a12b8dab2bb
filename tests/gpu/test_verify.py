"""A stored winner is tried again on the device that found it, and holds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tilewright.kernels.problem import Problem
from tilewright.tuner.api import TuneOptions, tune
from tilewright.tuner.evaluate import open_meter
from tilewright.tuner.store import open_store
from tilewright.tuner.verify import verify

pytestmark = pytest.mark.gpu

PROBLEM = Problem(512, 4096, 4096)


def test_a_winner_of_today_holds_today_and_takes_seconds(tmp_path: Path) -> None:
    tune([PROBLEM], db=tmp_path / "store.db", options=TuneOptions(trials=40))
    meter = open_meter("gpu")
    try:
        with open_store(tmp_path / "store.db") as store:
            begun = time.monotonic()
            verdict = verify(PROBLEM, meter, store)
            seconds = time.monotonic() - begun
            races = store.races(PROBLEM, meter.device.name)
    finally:
        meter.close()
    assert verdict is not None
    assert not verdict.regressed, verdict
    assert verdict.failed == ()
    assert verdict.after is not None
    assert verdict.after.measured_at == races[0].started_at > verdict.before.measured_at
    assert seconds < 60
