"""How values are shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from tilewright.cli.present import age, axes_text, console, plain, ratio_text, table, why_empty
from tilewright.kernels.config import Config
from tilewright.kernels.device import nominal
from tilewright.kernels.families import FAMILIES
from tilewright.kernels.problem import Problem
from tilewright.tuner.trial import Outcome, Ratio

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("passed", "told"),
    [
        (timedelta(), "just now"),
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=90), "90 s ago"),
        (timedelta(minutes=5), "5 min ago"),
        (timedelta(hours=47), "47 h ago"),
        (timedelta(days=60), "60 days ago"),
    ],
)
def test_an_age_is_in_the_unit_that_fits(passed: timedelta, told: str) -> None:
    assert age(NOON - passed, NOON) == told


@pytest.mark.parametrize(
    ("ratio", "reference", "told"),
    [
        (None, None, "-"),
        (Ratio(1.031, 1.027, 1.035), Config.of("cublas"), "1.031 [1.027, 1.035]"),
        (Ratio(1.002, 0.998, 1.004), None, "1.002 [0.998, 1.004] tie"),
        (Ratio(2.0, 1.9, 2.1), Config.of("cpu_blas"), "2.000 [1.900, 2.100] of cpu_blas"),
    ],
)
def test_a_ratio_has_its_interval_and_says_when_it_is_a_tie(
    ratio: Ratio | None, reference: Config | None, told: str
) -> None:
    assert ratio_text(ratio, reference) == told


def test_axes_are_named() -> None:
    assert axes_text(Config.of("tiled", num_warps=4, block_m=64)) == "block_m=64 num_warps=4"
    assert axes_text(Config.of("cublas")) == "-"


def test_what_looks_like_markup_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    console().print(table("[title]", ["reason"], [["[red]PTXAS[/red] :warning: at [0, 3]"]], "[caption]"))
    printed = capsys.readouterr().out
    assert "[red]PTXAS[/red] :warning: at [0, 3]" in printed
    assert "[title]" in printed
    assert "[caption]" in printed


def test_plain_values_are_json() -> None:
    value = {
        "at": NOON,
        "outcome": Outcome.WRONG,
        "ratio": Ratio(1.0, 0.0, float("inf")),
        "configs": (Config.of("tiled", order="rows"),),
        "problem": Problem(1, 2, 3),
    }
    told = json.loads(json.dumps(plain(value), allow_nan=False))
    assert told["at"] == "2026-11-23T12:00:00+00:00"
    assert told["outcome"] == "wrong"
    assert told["ratio"] == {"median": 1.0, "low": 0.0, "high": None}
    assert told["configs"] == [{"family": "tiled", "axes": {"order": "rows"}}]
    assert (told["problem"]["key"], told["problem"]["flops"]) == ("1x2x3-bf16-nt", 12)


def test_an_empty_space_says_what_stands_against_it() -> None:
    space = FAMILIES["descriptor"].space(Problem(4096, 4096, 4096), nominal("sm80"))
    assert len(space) == 0
    assert why_empty(space).startswith("arch: 90 (needed sm), 10 over the limit of 80")
