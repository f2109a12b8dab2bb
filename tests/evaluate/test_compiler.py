"""Whatever the compiler does with a config, the config comes back, and so do those beside it; without a GPU."""

from __future__ import annotations

import time
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tilewright.kernels.access import Accesses
from tilewright.kernels.config import Config
from tilewright.kernels.device import nominal
from tilewright.kernels.problem import Problem
from tilewright.tests import faults
from tilewright.tests.faults import config_of
from tilewright.tuner.evaluate.compiler import Built, CompilePool, Job, compile_all
from tilewright.tuner.trial import Outcome

from .processes import children, soon

DEVICE = nominal("sm90")
PROBLEM = Problem(512, 4096, 4096)
PATIENCE_S = 12.0  # a process's start included


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compilation cache of this test's own."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    return tmp_path / "triton"


@pytest.fixture
def pool() -> Iterator[CompilePool]:
    made = CompilePool(DEVICE, jobs=2, timeout_s=PATIENCE_S)
    try:
        yield made
    finally:
        made.close()


def compiled_files(cache: Path) -> int:
    return len(list(cache.glob("*/*.cubin")))


def by_config(built: list[Built]) -> dict[Config, Built]:
    assert len({one.job.config for one in built}) == len(built)
    return {one.job.config: one for one in built}


def test_a_crash_and_a_hang_cost_their_own_config_alone(pool: CompilePool) -> None:
    good = [config_of("COMPILES", variant) for variant in range(3)]
    bad = [config_of(name) for name in ("COMPILER_HANGS", "COMPILER_CRASHES", "UNCOMPILABLE")]
    order = [good[0], *bad, config_of("COMPILER_CRASHES", 1), *good[1:]]
    started = time.monotonic()
    found = by_config(compile_all(DEVICE, [Job(PROBLEM, config) for config in order], pool))
    assert time.monotonic() - started < 60, "the hang was cut off; what else takes time are the starts of processes"
    assert set(found) == set(order)
    for config in good:
        assert (found[config].reason, found[config].outcome) == ("", Outcome.MEASURED)
        resources = found[config].resources
        assert resources is not None
        assert resources.registers > 0
    assert found[bad[0]].outcome is Outcome.TIMED_OUT
    assert found[bad[0]].reason == "compilation did not end in 12 s"
    assert found[bad[1]].outcome is Outcome.CRASHED
    assert "killed by SIGABRT: LLVM ERROR: out of luck" in found[bad[1]].reason
    assert found[bad[2]].outcome is Outcome.COMPILE_FAILED
    assert "a negative variant cannot be compiled" in found[bad[2]].reason
    assert "\n" not in found[bad[2]].reason


def test_what_failed_is_not_tried_twice(pool: CompilePool) -> None:
    jobs = [Job(PROBLEM, config_of("COMPILER_CRASHES"))]
    (first,) = compile_all(DEVICE, jobs, pool)
    started = time.monotonic()
    (second,) = compile_all(DEVICE, jobs, pool)
    assert time.monotonic() - started < 1
    assert second == first


def test_equal_binaries_are_compiled_once(pool: CompilePool, cache: Path) -> None:
    one = Config.of("tiled", block_m=16, block_n=32, block_k=32, group_m=1, num_warps=4, num_stages=2)
    jobs = [Job(Problem(m, 4096, 4096), one.replace(group_m=group)) for m in (1, 16, 4096) for group in (1, 8)]
    built = compile_all(DEVICE, jobs, pool)
    assert sorted(done.job.problem.m for done in built) == [1, 1, 16, 16, 4096, 4096]
    assert len({done.resources for done in built}) == 1
    assert compiled_files(cache) == 1
    # Nor does another process compile it again.
    (again,) = compile_all(DEVICE, jobs[:1])
    assert again.reason == ""
    assert compiled_files(cache) == 1


def test_kernels_of_one_name_in_two_modules_are_two() -> None:
    binary = faults.COMPILES.binary
    assert binary is not None
    ours = binary(PROBLEM, DEVICE, config_of("COMPILES"), Accesses.dense(PROBLEM))
    function = types.FunctionType(ours.kernel.fn.__code__, {}, ours.kernel.fn.__name__)
    function.__module__ = "another.module"
    other = replace(ours, kernel=types.SimpleNamespace(fn=function))
    assert other.key[1:] == ours.key[1:]
    assert other.key != ours.key


def test_what_is_compiled_ahead_is_there_when_it_is_asked_for(pool: CompilePool, cache: Path) -> None:
    configs = [config_of("COMPILES", variant) for variant in range(3)]
    pool.prefetch(PROBLEM, configs)
    assert len(pool) == 0
    assert soon(lambda: pool.collect() == [] and compiled_files(cache) == 3, 60)
    pool.collect()
    assert set(by_config(compile_all(DEVICE, [Job(PROBLEM, config) for config in configs], pool))) == set(configs)
    assert compiled_files(cache) == 3


def test_what_is_asked_for_goes_before_what_is_compiled_ahead() -> None:
    pool = CompilePool(DEVICE, jobs=1, timeout_s=PATIENCE_S)
    try:
        first, ahead, asked = (config_of("COMPILES", variant) for variant in range(3))
        pool.submit(PROBLEM, first)
        pool.prefetch(PROBLEM, [ahead, config_of("COMPILER_HANGS")])
        pool.submit(PROBLEM, asked)
        started = time.monotonic()
        assert set(by_config(compile_all(DEVICE, [], pool))) == {first, asked}
        assert time.monotonic() - started < PATIENCE_S
    finally:
        pool.close()


def test_what_is_not_compiled_may_be_taken_back(cache: Path) -> None:
    """What waits is not compiled, what is under way is collected by nobody, and either may be asked for again."""
    pool = CompilePool(DEVICE, jobs=1, timeout_s=PATIENCE_S)
    try:
        done, under_way, waiting = (config_of("COMPILES", variant) for variant in range(3))
        pool.submit(PROBLEM, done)
        assert soon(lambda: compiled_files(cache) == 1 and [built.job.config for built in pool.collect()] == [done], 60)
        pool.submit(PROBLEM, done)
        pool.submit(PROBLEM, under_way)
        pool.submit(PROBLEM, waiting)
        assert [job.config for job in pool.withdraw()] == [under_way, waiting]
        assert [built.job.config for built in pool.collect()] == [done], "it was there"
        assert len(pool) == 0
        assert soon(lambda: pool.collect() == [] and compiled_files(cache) == 2, 60)
        assert set(by_config(compile_all(DEVICE, [Job(PROBLEM, one) for one in (under_way, waiting)], pool))) == {
            under_way, waiting,
        }  # fmt: skip
        assert compiled_files(cache) == 3
    finally:
        pool.close()


def test_what_is_compiled_ahead_last_goes_before_what_earlier_problems_left(cache: Path) -> None:
    """A plan comes to the next problem before all is compiled that an earlier one might have come by."""
    pool = CompilePool(DEVICE, jobs=1, timeout_s=PATIENCE_S)
    try:
        first, latest = (config_of("COMPILES", variant) for variant in range(2))
        pool.submit(PROBLEM, first)
        pool.prefetch(PROBLEM, [config_of("COMPILER_HANGS")])
        pool.prefetch(replace(PROBLEM, m=2 * PROBLEM.m), [Config.of("cublas"), latest])
        # The one that hangs would keep the only process busy.
        assert soon(lambda: [built.job.config for built in pool.collect()] == [first], PATIENCE_S)
        assert soon(lambda: compiled_files(cache) == 2, PATIENCE_S)
    finally:
        pool.close()


def test_more_shared_memory_than_there_is_is_told() -> None:
    small = replace(DEVICE, shared_memory_bytes=4096)
    config = Config.of("tiled", block_m=64, block_n=64, block_k=32, group_m=1, num_warps=4, num_stages=2)
    (built,) = compile_all(small, [Job(PROBLEM, config)])
    assert built.outcome is Outcome.OUT_OF_RESOURCES
    assert built.reason == "shared memory: 16384 bytes, the device has 4096 a block"
    assert built.resources is not None


def test_a_library_has_nothing_to_compile(pool: CompilePool) -> None:
    with pytest.raises(ValueError, match="cublas is a library: there is nothing to compile"):
        pool.submit(PROBLEM, Config.of("cublas"))


def test_nothing_is_left_of_a_pool_closed_at_work() -> None:
    before = children()
    pool = CompilePool(DEVICE, jobs=2)
    for variant in range(4):
        pool.submit(PROBLEM, config_of("COMPILER_HANGS", variant))
    assert len(children() - before) == 2
    started = time.monotonic()
    pool.close()
    assert time.monotonic() - started < 5
    assert children() == before
