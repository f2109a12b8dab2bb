"""The benchmark of correctness finds what is wrong, and finds nothing in a family of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tilewright.kernels.families import FAMILIES, is_deterministic
from tilewright.kernels.operands import current_device
from tilewright.kernels.problem import Problem
from tilewright.tests.gpu.faults import MODULE

pytestmark = pytest.mark.gpu
PROGRAM = Path(__file__).parents[2] / "benchmarks" / "correctness.py"


def run(folder: Path, name: str, count: int) -> tuple[int, dict[str, int]]:
    """The exit code, and the outcomes with their counts."""
    out = folder / "found.json"
    command = [sys.executable, "-P", str(PROGRAM), "--small", "--family", name, "--count", str(count), "--kinds", "8"]
    code = subprocess.run([*command, "--out", str(out)], check=False).returncode
    outcomes: dict[str, int] = json.loads(out.read_text())["families"][name]["outcomes"]
    return code, outcomes


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.axes])
def test_families_of_ours_are_right_with_the_same_bits_each_time(name: str, tmp_path: Path) -> None:
    """Also on another stream while a third one keeps the GPU busy: what `deterministic` promises."""
    problem, device = Problem(64, 512, 512), current_device()
    assert all(is_deterministic(problem, config) for config in FAMILIES[name].defaults(problem, device))
    if not len(FAMILIES[name].space(Problem(256, 256, 1 << 15, epilogue="gelu"), device)):
        pytest.skip("the family is not for this device")
    code, outcomes = run(tmp_path, name, 200)
    assert (code, outcomes["right"]) == (0, 200)


@pytest.mark.parametrize(
    ("attribute", "outcome"),
    [
        ("WRONG_WHEN_RAGGED", "wrong"),
        ("WRITES_BESIDE", "wrote beside D"),
        ("OTHER_EVERY_TIME", "differs"),
        ("ILLEGAL_ADDRESS", "lost"),
    ],
)
def test_faults_are_found(attribute: str, outcome: str, tmp_path: Path) -> None:
    code, outcomes = run(tmp_path, f"{MODULE}:{attribute}", 40)
    assert code == 1
    assert outcomes.get(outcome, 0) > 0
