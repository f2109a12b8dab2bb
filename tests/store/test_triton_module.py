"""The exported module is Python that Triton takes, whatever the names in the store are."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import triton

from tilewright.kernels.config import Config
from tilewright.kernels.problem import Problem
from tilewright.tuner.store import Store, StoreError
from tilewright.tuner.store.query import best_of_all
from tilewright.tuner.store.triton_module import triton_module

from .samples import CUBLAS, DEVICE, measured, tiled


def run(source: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(source, "configs.py", "exec"), names)
    return names


def test_the_module_holds_a_list_a_family_and_the_ranked_configs_of_each_problem(memory: Store) -> None:
    split = Config.of("split_k", block_m=16, split=4, num_warps=2)
    for m, times in ((1, {split: 10.0, tiled(16): 12.0}), (2, {split: 9.0}), (512, {tiled(128): 50.0, CUBLAS: 40.0})):
        memory.add_all(measured(config, time, problem=Problem(m, 4096, 4096)) for config, time in times.items())
    module = run(triton_module(best_of_all(memory)))
    assert [config.kwargs["BLOCK_M"] for config in module["TILED"]] == [128, 16]
    (only,) = module["SPLIT_K"]
    assert isinstance(only, triton.Config)
    assert (only.kwargs, only.num_warps, only.num_stages) == (
        {"BLOCK_M": 16, "SPLIT": 4},
        2,
        triton.Config({}).num_stages,
    )
    ranked = module["BY_PROBLEM"]
    assert ranked[1, 4096, 4096, "bf16", "nt", "bf16"] == [only, module["TILED"][1]]
    assert ranked[512, 4096, 4096, "bf16", "nt", "bf16"] == [module["TILED"][0]]


def test_names_can_be_those_of_another_kernel(memory: Store) -> None:
    memory.add(measured(tiled(128)))
    module = run(triton_module(best_of_all(memory), {"block_m": "BM", "block_n": "BLOCK_SIZE_N"}))
    assert {"BM", "BLOCK_SIZE_N", "BLOCK_K", "GROUP_M"} == set(module["TILED"][0].kwargs)


def test_names_from_elsewhere_are_no_program(memory: Store) -> None:
    evil = '"""\nraise SystemExit("evil")\n'
    device = dataclasses.replace(DEVICE, name=evil)
    memory.add(measured(Config.of("tiled", block_m=128, order=evil), device=device))
    module = run(triton_module(best_of_all(memory)))
    assert module["TILED"][0].kwargs["ORDER"] == evil
    memory.add(measured(Config.of("tiled", {f"a{evil}": 1}), 1.0, device=device))
    with pytest.raises(StoreError, match="is no name for a kernel's parameter: rename it with --rename"):
        triton_module(best_of_all(memory))


def test_libraries_alone_make_no_module(memory: Store) -> None:
    memory.add(measured(CUBLAS))
    with pytest.raises(StoreError, match="only libraries"):
        triton_module(best_of_all(memory))
