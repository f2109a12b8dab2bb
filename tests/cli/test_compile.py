"""`compile`: what the compiler makes of configs, on a machine with no GPU."""

from __future__ import annotations

import json

import pytest

from .conftest import Run


def test_every_config_is_shown_with_its_resources(run: Run) -> None:
    ran = run("compile", "16x4096x4096", "--arch", "sm90", "--limit", "3")
    assert ran.code == 0
    assert ran.out.startswith("16x4096x4096-bf16-nt for sm90")
    assert "3 of 3 compiled; a block may take 232448 bytes of shared memory" in ran.out


def test_the_resources_are_the_same_in_json(run: Run) -> None:
    ran = run("compile", "16x4096x4096", "--arch", "sm80", "--family", "split_k", "--limit", "1", "--json")
    (built,) = json.loads(ran.out)
    assert built["job"]["config"]["family"] == "split_k"
    assert built["resources"]["registers"] > 0
    assert 0 < built["resources"]["shared_memory_bytes"] <= 166_912


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), "No problem is named"),
        (("1x2x3", "--arch", "sm75"), "'sm75' is not one of 'sm80'"),
        (("1x2x3", "--family", "cutlass"), "family 'cutlass' is not known: use one of tiled"),
        (("1x2x3", "--family", "cublas"), "cublas is a library: there is nothing to compile"),
        (("0x2x3",), "0x2x3-bf16-nt has no valid config on sm90: extents: 1 zero extents, 1 over the limit of 0"),
        (("1x2x3", "--jobs", "0"), "0 is not in the range x>=1"),
    ],
)
def test_what_cannot_be_compiled_is_told(run: Run, arguments: tuple[str, ...], error: str) -> None:
    assert error in run("compile", *arguments).error
