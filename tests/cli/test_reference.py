"""docs/cli.md is what the commands say of themselves, and every example in it runs."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from tilewright.cli.main import COMMANDS
from tilewright.cli.reference import helps, reference
from tilewright.kernels.problem import Problem
from tilewright.tuner.landscape import Landscape, Reading, write_landscape
from tilewright.tuner.store import open_store

from .conftest import ENVIRONMENT, FAST, PROBLEM, SLOW, STARTED, Run, race, trials

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


@pytest.fixture
def tuned(tmp_path: Path) -> str:
    """A store with two problems, tuned with two toolchains one after the other."""
    path = tmp_path / "tuned.db"
    before = replace(ENVIRONMENT, triton="3.6.0"), STARTED - timedelta(days=1)
    with open_store(path) as store:
        for problem in (PROBLEM, Problem(16, 6144, 4096)):
            for environment, started in (before, (ENVIRONMENT, STARTED)):
                store.add_all(trials(problem, environment, started), [race(problem, environment, started)])
    return str(path)


def test_the_examples_run(run: Run, tuned: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one folder, one after the other, as somebody would type them who has tuned before; each on the same trials.

    Without a GPU, an example that needs one must say so.
    """
    monkeypatch.chdir(tmp_path)
    write_landscape(
        f"landscapes/{PROBLEM}.csv.gz", Landscape.of("recorded", {FAST: Reading(20.0), SLOW: Reading(40.0)})
    )
    run("export", "--db", tuned, "--output", "winners.json")
    failed = []
    for number, example in enumerate(EXAMPLES):
        monkeypatch.setenv("TILEWRIGHT_DB", str(shutil.copy(tuned, tmp_path / f"{number}.db")))
        ran = run(*shlex.split(example)[1:])
        needs_a_gpu = ran.code == 2 and "GPU" in ran.error
        if ran.code != 0 and not needs_a_gpu:
            failed.append((example, ran))
    assert failed == []
