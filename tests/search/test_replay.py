"""A replay says how far a search comes, and what it shows is what it found."""

from __future__ import annotations

import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import tilewright
from tilewright.kernels.config import Config
from tilewright.tuner.landscape import Landscape, Reading
from tilewright.tuner.search import SAMPLERS
from tilewright.tuner.search.curves import PICTURES, RAW, draw, read_raw, write_report
from tilewright.tuner.search.replay import ReplayOptions, rows, run, summaries, summarize, without_libraries
from tilewright.tuner.trial import Outcome

from ..evaluate.processes import alive, children, soon
from .spaces import bowl_landscape

SMALL = Landscape.of(
    "small",
    {Config.of("a", x=x): Reading(10.0 + x, 0.5) for x in range(5)}
    | {Config.of("a", x=5): Reading(None, 0.0, Outcome.WRONG)},
)


LONG_REPLAY = """
import sys
from pathlib import Path
from tilewright.tuner.landscape import read_landscape
from tilewright.tuner.search.replay import ReplayOptions, summaries
if __name__ == "__main__":
    landscape = read_landscape(Path(sys.argv[1]))
    print("ready", flush=True)
    list(summaries([landscape] * 50, ["gp"], 20, ReplayOptions(), jobs=2))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that ends a process with its parent")
def test_no_process_outlives_a_replay_that_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "long.py"
    program.write_text(LONG_REPLAY)
    file = next(iter(sorted(Path(tilewright.__file__).parent.glob("results/*/landscapes/*.csv.gz"))))
    command = [sys.executable, "-P", str(program), str(file)]
    # What tracks its semaphores warns of them when it is killed.
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as replay:
        try:
            assert replay.stdout is not None
            assert replay.stdout.readline() == "ready\n"
            assert soon(lambda: len(children(replay.pid)) == 2, 30.0)
            started = children(replay.pid)
        finally:
            replay.kill()
        replay.wait()
        assert soon(lambda: not any(alive(child) for child in started), 10.0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_curve_rises_to_the_optimum(sampler: str) -> None:
    found = run(SMALL, sampler, 0, ReplayOptions())
    assert len(found.fractions) == len(SMALL.readings)
    assert list(found.fractions) == sorted(found.fractions)
    assert found.fractions[-1] == 1.0
    assert found.failing == 1
    assert sorted(found.found) == sorted((config, one.time_us) for config, one in SMALL.readings.items() if one.time_us)


def test_the_seed_decides_noise_included() -> None:
    landscape = bowl_landscape()
    noisy = [run(landscape, "random", seed, ReplayOptions(40, noise=True)) for seed in (1, 1, 2)]
    assert noisy[0].found == noisy[1].found != noisy[2].found
    assert noisy[0].fractions == noisy[1].fractions


def test_noise_has_the_recorded_spread_and_does_not_flatter() -> None:
    flat = Landscape.of("flat", {Config.of("a", x=x): Reading(100.0, 5.0 if x else 0.0) for x in range(500)})
    found = run(flat, "exhaustive", 0, ReplayOptions(500, noise=True))
    assert statistics.stdev(time_us for _, time_us in found.found) == pytest.approx(5.0, rel=0.15)
    assert found.found[0][1] != 100.0  # read once when recorded, and so given the spread of the others
    assert set(found.fractions) == {1.0}  # by the recorded mean, not by the luckiest reading


def test_a_neighbour_helps() -> None:
    landscape = bowl_landscape()
    neighbour = replace(landscape, name="other")
    warm = run(landscape, "gp", 0, ReplayOptions(8, neighbour=neighbour))
    assert warm.fractions[-1] >= run(landscape, "gp", 0, ReplayOptions(8)).fractions[-1]


def test_libraries_are_not_searched() -> None:
    with_library = replace(SMALL, readings={Config.of("cublas"): Reading(1.0), **SMALL.readings})
    assert without_libraries(with_library) == SMALL


def test_processes_change_nothing_but_the_clock() -> None:
    alone, apart = (list(summaries([SMALL], ["random", "climb"], 3, ReplayOptions(), jobs=jobs)) for jobs in (1, 2))
    assert [replace(one, ask_ms=0) for one in alone] == [replace(one, ask_ms=0) for one in apart]
    assert [(one.landscape, one.sampler, one.seeds) for one in alone] == [("small", "random", 3), ("small", "climb", 3)]


def test_a_summary_is_of_all_runs() -> None:
    runs = [run(bowl_landscape(), "random", seed, ReplayOptions(30)) for seed in range(5)]
    found = summarize("bowl", "random", runs)
    assert [stop.evaluations for stop in found.stops] == [10, 25]
    assert found.stops[1].median == statistics.median(one.fractions[24] for one in runs) == found.curve[24]
    assert found.stops[1].low <= found.stops[1].median
    assert found.good_share == sum(one.fractions[-1] >= 0.98 for one in runs) / 5
    assert rows([found])[0][2:4] == ["at 10", "at 25"]


def test_the_published_page_is_made_from_its_raw_replays(tmp_path: Path) -> None:
    published = Path(tilewright.__file__).parent / "results" / "search"
    landscapes = {path.name.removesuffix(".csv.gz") for path in published.parent.glob("*/landscapes/*.csv.gz")}
    found, made_by = read_raw(published / RAW)
    assert {one.landscape for one in found} == landscapes
    assert {(one.seeds, one.stops[-1].evaluations) for one in found} == {(20, 100)}
    write_report(found, made_by, tmp_path)
    for name in ("README.md", RAW):
        assert (tmp_path / name).read_text() == (published / name).read_text(), f"`make search-results` makes {name}"


def test_a_page_and_its_picture(tmp_path: Path) -> None:
    found = [summarize("small", sampler, [run(SMALL, sampler, 0, ReplayOptions())]) for sampler in ("random", "climb")]
    write_report(found, ["tilewright", "replay", "a file.csv"], tmp_path / "page")
    page = (tmp_path / "page" / "README.md").read_text()
    assert "| small | climb |" in page
    assert "tilewright replay 'a file.csv'" in page
    assert (tmp_path / "page" / "curves.svg").read_text().startswith("<?xml")
    kept, made_by = read_raw(tmp_path / "page" / RAW)
    write_report(kept, made_by, tmp_path / "again")
    for name in ("README.md", "curves.svg", RAW):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "page" / name).read_bytes()
    for suffix in PICTURES:
        pictures = tmp_path / f"one{suffix}", tmp_path / f"two{suffix}"
        for picture in pictures:
            draw(found, picture)
        assert pictures[0].read_bytes() == pictures[1].read_bytes()
