"""`tune`, `best` and `TuneOptions` as values: what is out of bounds is told before a device is opened."""

from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import tilewright
from tilewright import Problem, TuneOptions
from tilewright.tuner.evaluate import open_meter
from tilewright.tuner.store import open_store
from tilewright.tuner.trial import Environment
from tilewright.tuner.unanswered import why_none

from . import recorded


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"trials": 0}, "trials is 0: give a whole number from 1 on"),
        ({"trials": 1.5}, "trials is 1.5: give a whole number"),
        ({"trials": "3"}, "trials is '3': give a whole number"),
        ({"seed": -1}, "seed is -1: give a whole number from 0 to 4294967295"),
        ({"seed": 2**70}, "seed is 1180591620717411303424: give a whole number"),
        ({"jobs": -1}, "jobs is -1: give a whole number from 0 on"),
        ({"seconds": math.nan}, "seconds is nan: a budget is longer than nothing, and ends"),
        ({"seconds": math.inf}, "seconds is inf: a budget"),
        ({"families": "tiled"}, "families is the text 'tiled': give a tuple of names"),
        ({"effort": "much"}, "effort 'much' is not known"),
    ],
)
def test_options_out_of_bounds_are_told(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        tilewright.tune([Problem(8, 8, 8)], device="cpu", options=TuneOptions(**options))


@pytest.mark.parametrize("problems", ["16x16x16", ["16x16x16"], Problem(8, 8, 8), [None]])
def test_what_is_no_problem_is_told(problems: Any) -> None:
    with pytest.raises(ValueError, match=r"give a list of tilewright\.Problem"):
        tilewright.tune(problems, device="cpu")


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_budget_that_was_too_short_is_told(tmp_path: Path, deterministic: bool) -> None:
    (file,) = recorded.write(tmp_path, recorded.PROBLEM)
    with closing(open_meter(f"replay:{file}")) as meter, open_store("memory://") as store:
        why = why_none(recorded.PROBLEM, meter, store, deterministic=deterministic)
    assert "the time was up before anything was measured: give it more with --budget" in why


def test_best_tells_what_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file,), db = recorded.write(tmp_path, recorded.PROBLEM), tmp_path / "trials.db"
    tilewright.tune([recorded.PROBLEM], device=f"replay:{file}", db=db, options=TuneOptions(trials=5))
    assert not tilewright.best(recorded.PROBLEM, db=db).winner.stale
    today = {name: Environment("9.9", "", "", "", "", "") for name in ("tiled", "cublas")}
    monkeypatch.setattr("tilewright.tuner.api.toolchain", lambda: today)
    assert tilewright.best(recorded.PROBLEM, db=db).winner.stale


def test_best_is_asked_for_a_problem_and_a_number(tmp_path: Path) -> None:
    problem, db = Problem(8, 8, 8, "fp32"), tmp_path / "trials.db"
    (answer,) = tilewright.tune([problem], device="cpu", db=db, options=TuneOptions(seconds=0.2))
    assert tilewright.best(problem, db=db).winner.config == answer.winner.config
    with pytest.raises(ValueError, match="runners_up is -1: give a whole number from 0 on"):
        tilewright.best(problem, db=db, runners_up=-1)
    with pytest.raises(ValueError, match="give a list of"):
        tilewright.best("8x8x8", db=db)  # type: ignore[arg-type]
