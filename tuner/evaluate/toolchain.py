"""The toolchain of this machine as it would be measured with now, read without torch and without touching the GPU."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import re
from pathlib import Path

from ...kernels.families import FAMILIES, kernel_hash
from ..trial import Environment
from .health import driver_version, gpu_count


def toolchain() -> dict[str, Environment] | None:
    """Today's environment of each family; None on a machine without an NVIDIA GPU, where nothing is measured."""
    if not gpu_count():
        return None
    torch_version, cuda = _torch_versions()
    driver = driver_version()
    return {
        name: Environment(
            triton=importlib.metadata.version("triton"),
            torch=torch_version,
            cuda=cuda,
            driver=driver,
            python=platform.python_version(),
            kernel_hash=kernel_hash(name),
        )
        for name in FAMILIES
    }


def _torch_versions() -> tuple[str, str]:
    """PyTorch's version and CUDA's, out of torch/version.py: importing torch takes seconds."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return "", ""
    text = Path(found.origin).with_name("version.py").read_text()
    version = re.search(r"^__version__ = ['\"](.+)['\"]", text, re.MULTILINE)
    cuda = re.search(r"^cuda[^=]*= ['\"](.+)['\"]", text, re.MULTILINE)
    return version[1] if version else "", cuda[1] if cuda else ""
