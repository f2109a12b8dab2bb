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
from tilewright.tuner.evaluate.health import gpu_count
from tilewright.tuner.landscape import Landscape, Reading, write_landscape
from tilewright.tuner.store import open_store

from .conftest import ENVIRONMENT, FAST, PROBLEM, SLOW, STARTED, Run, race, trials

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "cli.md"
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
def at_work(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with what the examples name, and two problems tuned with two toolchains one after the other."""
    before = replace(ENVIRONMENT, triton="3.6.0"), STARTED - timedelta(days=1)
    with open_store(tmp_path / "tilewright.db") as store:
        for problem in (PROBLEM, Problem(16, 6144, 4096)):
            for environment, started in (before, (ENVIRONMENT, STARTED)):
                store.add_all(trials(problem, environment, started), [race(problem, environment, started)])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TILEWRIGHT_DB", "tilewright.db")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))  # where a table goes by default
    (tmp_path / "shapes.csv").write_text("m,n,k,calls,us\n16,6144,4096,32,480\n")
    for program in ("generate.py", "my_model.py"):
        (tmp_path / program).write_text("import torch\ntorch.ones(4, 8) @ torch.ones(8, 4)\n")
    for pack in ("winners.json", "results.pack.json"):
        assert run("export", "--output", pack).code == 0
    shutil.copytree(ROOT / "results", "results", ignore=shutil.ignore_patterns("*.db*"))
    write_landscape(
        f"landscapes/{PROBLEM}.csv.gz", Landscape.of("recorded", {FAST: Reading(20.0), SLOW: Reading(40.0)})
    )


@pytest.mark.usefixtures("at_work")
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs(run: Run, example: str) -> None:
    """On a machine without a GPU, an example that needs one says so; with one, it would take minutes."""
    if gpu_count() and shlex.split(example)[1] in ("tune", "landscape", "verify"):
        pytest.skip("takes minutes on a GPU")
    ran = run(*shlex.split(example)[1:])
    assert ran.code == 0 or "GPU" in ran.error
