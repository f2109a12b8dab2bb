"""The pages under results/ say what their raw results say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from tilewright.cli.report import report
from tilewright.tuner.landscape import read_landscape

RESULTS = Path(__file__).parent.parent / "results"
PACKS = sorted(RESULTS.glob("*/winners.json"))
RECORDED = [pack for pack in PACKS if (pack.parent / "landscapes").exists()]


@pytest.mark.parametrize("pack", PACKS, ids=lambda path: path.parent.name)
def test_page_is_what_the_command_prints(pack: Path) -> None:
    folder = pack.parent / "landscapes"
    printed = CliRunner().invoke(report, [str(pack), *(["--landscapes", str(folder)] if folder.exists() else [])])
    assert printed.exit_code == 0, printed.output
    page = (pack.parent / "README.md").read_text()
    assert page == printed.output, "run `make results`"


@pytest.mark.parametrize("pack", PACKS, ids=lambda path: path.parent.name)
def test_every_problem_counts_once_in_the_summary(pack: Path) -> None:
    (summary,) = re.findall(r"^Geometric mean .*", (pack.parent / "README.md").read_text(), re.MULTILINE)
    (count,) = map(int, re.findall(r"over (\d+) problems", summary))
    assert sum(map(int, re.findall(r"\((\d+)\)", summary))) == count
    assert sum(map(int, re.findall(r"(?:confidence|behind|tie|undecided) on (\d+)", summary))) == count


@pytest.mark.parametrize("pack", RECORDED, ids=lambda path: path.parent.name)
def test_a_winner_is_held_against_the_best_of_its_recording(pack: Path) -> None:
    page = (pack.parent / "README.md").read_text().partition("## Winners against exhaustive bests")[2]
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")][2:]
    assert rows
    for key, winner, best, recorded, _ in rows:
        landscape = read_landscape(pack.parent / "landscapes" / f"{key}.csv.gz")
        times = {
            f"{config.family}: " + " ".join(f"{axis}={value}" for axis, value in config.items()): reading.time_us
            for config, reading in landscape.readings.items()
            if len(config) and reading.time_us is not None
        }
        assert times[best] == min(times.values())
        told = f"{min(times.values()) / times[winner]:.3f}" if winner in times else "-"
        assert recorded == told


def test_there_is_a_page() -> None:
    assert RECORDED
