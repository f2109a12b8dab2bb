"""Every family computes the right thing in Triton's interpreter, on memory of all kinds, and writes nowhere else.

bf16 is left to the compiled kernels: the interpreter multiplies its bit patterns as whole numbers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Final

import numpy as np
import pytest
import triton

from tilewright.kernels.epilogue import ACTIVATIONS, STEPS
from tilewright.kernels.families import FAMILIES
from tilewright.kernels.problem import DTYPES, LAYOUTS

# Gluon kernels do not run in the interpreter: they are compiled here and their numbers tested on a GPU.
GLUON: Final = ("warp_specialized", "mixed_tiles", "swapped_tiles", "shared_tiles", "half_by_half", "clustered")
KERNELS: Final = [name for name, family in FAMILIES.items() if not family.is_library and name not in GLUON]


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


@pytest.mark.skipif(
    version(triton.__version__) < (3, 7) and version(np.__version__) >= (2, 4),
    reason="Triton 3.6 reads run-time integers out of arrays of one element, which numpy 2.4 refuses",
)
@pytest.mark.parametrize("name", KERNELS)
def test_a_family_computes_the_product(name: str) -> None:
    program = [sys.executable, "-P", "-m", "tilewright.tests.kernels.interpret", name]
    ran = subprocess.run(
        program, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, timeout=280, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stdout + ran.stderr
    taken = json.loads(ran.stderr.splitlines()[-1])
    assert all(taken[layout] >= 2 for layout in LAYOUTS)
    assert min(taken["fp16"], taken["fp32"]) >= 4
    assert min(taken[dtype] for dtype in DTYPES if DTYPES[dtype].bytes == 1) >= 1
    assert taken["dense"] >= 8
    assert [step for step in STEPS if step not in taken] == (["up"] if name in ("split_k", "swapped") else [])
    for axis in FAMILIES[name].axes:
        assert all(taken[f"{axis.name}={value}"] for value in axis.values)
    if name in ("descriptor", "swapped"):  # TMA is particular
        assert taken["padded rows"] > 0
    else:
        assert "refused" not in taken
        assert taken["repeated lines"] == taken["no unit stride"] == taken["offset"] == 2 * len(LAYOUTS)


@pytest.mark.skipif(
    version(triton.__version__) < (3, 7) and version(np.__version__) >= (2, 4),
    reason="Triton 3.6 reads run-time integers out of arrays of one element, which numpy 2.4 refuses",
)
def test_an_activation_is_as_torch_has_it_all_along_the_line() -> None:
    program = [sys.executable, "-P", "-m", "tilewright.tests.kernels.activations"]
    ran = subprocess.run(
        program, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, timeout=120, check=True
    )
    found = json.loads(ran.stdout)
    assert set(found) == {*ACTIVATIONS, "gelu_16_bit"}
    for name, one in found.items():
        assert one["same_nan"], name
        assert one["error"] <= (8e-6 if name == "gelu_16_bit" else 3e-7), name
