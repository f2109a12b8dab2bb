"""What is installed: every module and no other, under the one name `tilewright`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any, Final

import pytest

import tilewright

ROOT: Final = Path(__file__).parents[1]
SHIPPED: Final = ("kernels", "tuner", "cli")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def packages(root: Path) -> list[str]:
    """`tilewright` and every package below it, as the folders tell."""
    inits = [init for folder in SHIPPED for init in (root / folder).rglob("__init__.py")]
    return ["tilewright", *sorted(".".join(("tilewright", *init.parent.relative_to(root).parts)) for init in inits)]


def shipped_files(root: Path) -> set[str]:
    """What a wheel must hold, as the folders tell: every file of the packages, and the recorded landscapes."""
    files = [file for folder in SHIPPED for file in (root / folder).rglob("*") if file.is_file()]
    files += [root / "__init__.py", *root.glob("results/*/landscapes/*.csv.gz")]
    return {f"tilewright/{file.relative_to(root).as_posix()}" for file in files if "__pycache__" not in file.parts}


def build_wheel(root: Path, into: Path) -> set[str]:
    """The names of the files in the wheel of the tree at `root`, less its metadata."""
    build = "from setuptools.build_meta import build_wheel; import sys; print(build_wheel(sys.argv[1]))"
    command = [sys.executable, "-P", "-c", build, str(into)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(into / done.stdout.splitlines()[-1]) as wheel:
        return {name for name in wheel.namelist() if ".dist-info/" not in name}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what a wheel is built from."""
    copy = tmp_path / "tree"
    ignored = shutil.ignore_patterns("__pycache__", "*.db*")
    for folder in SHIPPED:
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for file in ("__init__.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy / file)
    return copy


def test_every_folder_with_an_init_is_a_package() -> None:
    assert sorted(project()["tool"]["setuptools"]["packages"]) == packages(ROOT)


def test_a_new_folder_is_missed_in_the_list(tree: Path) -> None:
    (tree / "kernels" / "novelty").mkdir()
    (tree / "kernels" / "novelty" / "__init__.py").touch()
    assert sorted(project()["tool"]["setuptools"]["packages"]) != packages(tree)


def test_a_wheel_holds_every_file_and_no_other(tree: Path, tmp_path: Path) -> None:
    recorded = tree / "results" / "some-gpu" / "landscapes" / "1x1x1-bf16-nt.csv.gz"
    recorded.parent.mkdir(parents=True)
    recorded.touch()
    (tree / "tests").mkdir()
    (tree / "tests" / "__init__.py").touch()
    expected = shipped_files(tree)
    assert build_wheel(tree, tmp_path) == expected
    assert "tilewright/results/some-gpu/landscapes/1x1x1-bf16-nt.csv.gz" in expected


def test_a_file_that_is_not_declared_is_missed_in_the_wheel(tree: Path, tmp_path: Path) -> None:
    (tree / "kernels" / "table.json").touch()
    assert shipped_files(tree) - build_wheel(tree, tmp_path) == {"tilewright/kernels/table.json"}


def test_the_root_imports_nothing() -> None:
    program = "import sys, tilewright; print([name for name in sys.modules if name.startswith('tilewright.')])"
    printed = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_every_public_name_is_served() -> None:
    assert sorted(tilewright.__all__) == dir(tilewright)
    for name in tilewright.__all__:
        assert getattr(tilewright, name) is not None


def test_an_unknown_public_name_is_told() -> None:
    with pytest.raises(AttributeError, match="'tilewright' has no attribute 'bset'; it has Linear, Problem"):
        getattr(tilewright, "bset")  # noqa: B009


def test_the_constraints_hold_every_dependency() -> None:
    """Each name in pyproject.toml is pinned to one version, torch and triton among them."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = {line.split("==")[0].lower() for line in lines}
    declared = project()["project"]["dependencies"] + project()["project"]["optional-dependencies"]["dev"]
    names = {name.split(";")[0].split(">")[0].split("[")[0].strip().lower() for name in declared}
    assert names - pinned == set()
    assert all(line.count("==") == 1 for line in lines)


def test_the_licence_is_the_whole_of_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert project()["project"]["license"] == "Apache-2.0"
    assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert len(text) == 11358
