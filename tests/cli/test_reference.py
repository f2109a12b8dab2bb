"""docs/cli.md is what the commands say of themselves, and every example in it runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

import pytest

from tilewright.cli.main import COMMANDS
from tilewright.cli.reference import helps, reference

from .conftest import Run

PAGE: Final = Path(__file__).parents[2] / "docs" / "cli.md"
HELPS: Final = dict(helps())
EXAMPLE: Final = re.compile(r"^ +(tilewright .*)$", re.MULTILINE)
EXAMPLES: Final = [example for text in HELPS.values() for example in EXAMPLE.findall(text)]


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == reference(), "run `make docs`"


def test_every_command_is_on_the_page() -> None:
    assert list(HELPS) == ["tilewright", *(f"tilewright {command}" for command in COMMANDS)]


@pytest.mark.parametrize("name", HELPS)
def test_every_help_has_an_example_of_its_own(name: str) -> None:
    assert any(f"{example} ".startswith(f"{name} ") for example in EXAMPLE.findall(HELPS[name]))


def test_the_examples_run(run: Run, stocked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one folder, one after the other, as somebody would type them who has tuned before.

    Without a GPU, an example that needs one must say so.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TILEWRIGHT_DB", stocked)
    failed = []
    for example in EXAMPLES:
        ran = run(*shlex.split(example)[1:])
        needs_a_gpu = ran.code == 2 and "GPU" in ran.error
        if ran.code != 0 and not needs_a_gpu:
            failed.append((example, ran))
    assert failed == []
