"""Skips what is in this folder where there is no GPU."""

from __future__ import annotations

import pytest

from tilewright.tuner.evaluate.health import gpu_count


@pytest.fixture(autouse=True, scope="session")
def _gpu() -> None:
    if not gpu_count():
        pytest.skip("no NVIDIA GPU here")
