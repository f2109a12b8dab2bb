"""`best` and `trials`: what a stocked store answers, as tables and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tilewright.kernels.device import REPLAYED, Device
from tilewright.kernels.problem import Problem
from tilewright.tuner.store import open_store
from tilewright.tuner.trial import Outcome

from .conftest import CUBLAS, DEVICE, FAST, PROBLEM, SLOW, WRONG, Run, race, trials


def asked(run: Run, *arguments: str) -> Any:
    ran = run(*arguments, "--json")
    assert ran.code == 0, ran
    return json.loads(ran.out)


def test_the_winner_comes_first_with_its_ratio(run: Run, stocked: str) -> None:
    out = run("best", "512", "4096", "4096", "--db", stocked).out
    assert out.startswith(f"{PROBLEM} on {DEVICE.name}")
    first, second, third = (line for line in out.splitlines()[1:] if line.strip()[:1].isdigit())
    assert "block_m=128 block_n=256" in first
    assert "1.100 [1.094, 1.105]" in first
    assert "cublas" in second
    assert "1.000 [1.000, 1.000] tie" in second
    assert "block_m=64" in third
    assert "not raced" in third
    assert "measured 3 h ago" in out
    assert "triton 3.7.1, torch 2.13.0, CUDA 13.0, driver 580.1" in out


def test_the_answer_is_the_same_in_json(run: Run, stocked: str) -> None:
    (answer,) = asked(run, "best", PROBLEM.key.split("-")[0], "--db", stocked)
    winner = answer["winner"]
    assert answer["problem"]["key"] == PROBLEM.key
    assert winner["config"] == {"family": "tiled", "axes": {"block_m": 128, "block_n": 256}}
    assert winner["origin"] == "exact"
    assert winner["ratio"]["median"] == pytest.approx(1.1, rel=1e-3)
    assert winner["tflops"] == pytest.approx(PROBLEM.flops / winner["median_us"] / 1e6)
    assert [one["config"]["family"] for one in answer["runners_up"]] == ["cublas", "tiled"]


def test_fewer_runners_up_on_demand(run: Run, stocked: str) -> None:
    (answer,) = asked(run, "best", "512x4096x4096", "--runners-up", "1", "--db", stocked)
    assert len(answer["runners_up"]) == 1


def test_no_library_answers_for_the_same_bits(run: Run, stocked: str) -> None:
    (answer,) = asked(run, "best", "512x4096x4096", "--deterministic", "--db", stocked)
    assert [one["config"]["family"] for one in (answer["winner"], *answer["runners_up"])] == ["tiled", "tiled"]


def test_a_near_problem_answers_and_says_so(run: Run, stocked: str) -> None:
    lines = run("best", "640", "4096", "4096", "--db", stocked).out.splitlines()
    for family in ("tiled", "cublas"):
        assert all(f"near: {PROBLEM}" in line for line in lines if f" {family} " in line), "libraries too"
    assert sum(f"near: {PROBLEM}" in line for line in lines) == 3
    error = run("best", "640", "4096", "4096", "--exact", "--db", stocked).error
    assert "has no result for 640x4096x4096-bf16-nt" in error
    assert "tilewright tune 640x4096x4096" in error


def test_several_problems_are_a_line_each(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "several.db"
    others = [Problem(16, 6144, 4096), Problem(4096, 4096, 4096)]
    with open_store(path) as store:
        for problem in others:
            store.add_all(trials(problem), [race(problem)])
    ran = run("best", "--db", str(path))
    assert [line.split()[0] for line in ran.out.splitlines() if "tiled" in line] == [problem.key for problem in others]
    ran = run("best", "16x6144x4096", "7x7x7", "--db", str(path))
    assert "16x6144x4096" in ran.out
    assert ran.err == "No result for 7x7x7-bf16-nt\n"


def test_an_empty_store_says_what_to_do(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    open_store(path).close()
    assert (
        run("best", "--db", str(path)).error == f"{path} is empty: tune first, as with `tilewright tune 4096x4096x4096`"
    )


@pytest.mark.parametrize("command", ["best", "trials"])
def test_a_foreign_file_is_told_and_left_alone(run: Run, tmp_path: Path, command: str) -> None:
    file = tmp_path / "notes.db"
    file.write_text("my notes, no store at all" * 100)
    before = file.read_bytes()
    assert str(file) in run(command, "1x2x3", "--db", str(file)).error
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_all_trials_are_listed_with_their_reasons(run: Run, stocked: str) -> None:
    out = run("trials", "512", "4096", "4096", "--db", stocked).out
    assert out.startswith(PROBLEM.key)
    assert "error 3.1 is beyond the bound 1" in out
    assert out.rstrip().endswith("4 trials: 3 measured, 1 wrong")


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ((), [FAST, SLOW, CUBLAS, WRONG]),
        (("--family", "cublas"), [CUBLAS]),
        (("--outcome", "wrong"), [WRONG]),
        (("--sort", "median"), [FAST, CUBLAS, SLOW]),
        (("--sort", "median", "--limit", "2"), [FAST, CUBLAS]),
        (("--device", DEVICE.name, "--family", "tiled", "--outcome", "measured"), [FAST, SLOW]),
        (("--family", "tiled", "--limit", "1", "--outcome", "wrong"), [WRONG]),
    ],
)
def test_trials_are_filtered(run: Run, stocked: str, filters: tuple[str, ...], expected: list[Any]) -> None:
    found = asked(run, "trials", "512x4096x4096", "--db", stocked, *filters)
    configs = [(one["config"]["family"], one["config"]["axes"]) for one in found]
    assert configs == [(config.family, dict(config)) for config in expected]


def test_a_trial_is_told_whole_in_json(run: Run, stocked: str) -> None:
    fastest = asked(run, "trials", "512x4096x4096", "--db", stocked, "--sort", "median")[0]
    assert fastest["measurement"]["times_us"] == [20.0, 21.0, 22.0]
    assert fastest["median_us"] == 21.0
    assert fastest["resources"]["registers"] == 168
    assert fastest["environment"]["triton"] == "3.7.1"
    assert fastest["device"]["slug"] == DEVICE.slug


def test_an_outcome_that_is_none_is_told(run: Run, stocked: str) -> None:
    error = run("trials", "--outcome", "slow", "--db", stocked).error
    assert all(outcome.value in error for outcome in Outcome)


@pytest.mark.parametrize("command", ["best", "trials", "export"])
def test_a_device_of_which_nothing_is_stored_is_told(run: Run, stocked: str, command: str) -> None:
    error = run(command, "512x4096x4096", "--device", "h200", "--db", stocked).error
    assert error.endswith(f"has nothing of a device 'h200': name one of {DEVICE.name}")


def test_a_family_of_which_nothing_was_tried_is_told(run: Run, stocked: str) -> None:
    assert "nothing was tried of family 'tilde'" in run("trials", "--family", "tilde", "--db", stocked).error


def test_what_was_tried_on_a_replay_is_not_explained_by_limits_that_it_has_not(run: Run, tmp_path: Path) -> None:
    db = tmp_path / "replay.db"
    replay = Device("replay of a recording", REPLAYED, 0, 0, 0, 0)
    with open_store(db) as store:
        store.add_all([replace(one, device=replay) for one in trials(PROBLEM)], [])
    error = run("explain", "512x4096x4096", "--db", str(db)).error
    assert error.startswith(
        "512x4096x4096-bf16-nt was tried in a replay of a recording, which has no limits of its own"
    )
    assert run("export", "--format", "table", "--db", str(db)).error.endswith("nothing was measured in a replay")


def test_a_problem_that_no_device_tried_is_not_explained(run: Run, stocked: str) -> None:
    assert run("explain", "8x8x8", "--db", stocked).error.startswith("8x8x8-bf16-nt was tried on no device: name one")
    error = run("explain", "512x4096x4096", "--device", "abacus", "--db", stocked).error
    assert error.startswith("device 'abacus' is not known: name one with --device: ")
