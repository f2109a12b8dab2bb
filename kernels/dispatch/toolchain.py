"""The toolchain of this process, as results name theirs."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass

from ..result import Environment


@dataclass(frozen=True, slots=True)
class Toolchain:
    """Today's versions, and the source hash of a family by name (empty for one that is gone)."""

    triton: str
    torch: str
    cuda: str
    driver: str
    kernel_hash: Callable[[str], str]

    def of(self, family: str) -> Environment:
        return Environment(
            self.triton, self.torch, self.cuda, self.driver, platform.python_version(), self.kernel_hash(family)
        )


def toolchain() -> Toolchain:
    """Of this process; loads Triton."""
    import torch
    import triton

    from ..families import FAMILIES
    from ..family import source_hash

    def kernel_hash(family: str) -> str:
        return source_hash(FAMILIES[family].sources) if family in FAMILIES else ""

    return Toolchain(triton.__version__, str(torch.__version__), torch.version.cuda or "", _driver(), kernel_hash)


def _driver() -> str:
    """As in 580.159.04; empty when it does not say."""
    try:
        import pynvml  # nvidia-ml-py is a dependency, but some images remove it

        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except (ImportError, pynvml.NVMLError):
        return ""
