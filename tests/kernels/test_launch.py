"""The launcher in C: it compiles cleanly, and says what is missing where there is no driver."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
import torch
import triton

from tilewright.kernels.launch import SOURCE, NotDirect, _module

COMPILER = shutil.which("gcc")


@pytest.mark.skipif(COMPILER is None, reason="there is no gcc")
def test_the_launcher_compiles_without_a_warning(tmp_path: Path) -> None:
    include = Path(triton.__file__).parent / "backends" / "nvidia" / "include"
    warned = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-missing-field-initializers"]
    headers = [f"-I{include}", "-isystem", sysconfig.get_path("include")]
    command = ["gcc", "-O2", "-fPIC", "-shared", *warned, *headers, str(SOURCE), "-o", str(tmp_path / "start.so")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a driver")
def test_without_a_driver_nothing_is_launched_and_the_reason_is_told() -> None:
    with pytest.raises(NotDirect, match=r"start\.c cannot be compiled or loaded: .*libcuda\.so\.1"):
        _module()
