"""The pages under results/ say what their raw results say."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tilewright.cli.report import report

RESULTS = Path(__file__).parent.parent / "results"
PACKS = sorted(RESULTS.glob("*/winners.json"))


@pytest.mark.parametrize("pack", PACKS, ids=lambda path: path.parent.name)
def test_page_is_what_the_command_prints(pack: Path) -> None:
    printed = CliRunner().invoke(report, [str(pack), "--landscapes", str(pack.parent / "landscapes")])
    assert printed.exit_code == 0, printed.output
    page = (pack.parent / "README.md").read_text()
    assert page == printed.output, "run `make results`"


def test_there_is_a_page() -> None:
    assert PACKS
