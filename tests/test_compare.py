"""Comparisons on the host; where a GPU is asked for, the host plays that as well, with a kernel family of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tilewright.kernels.config import Config
from tilewright.kernels.problem import Problem
from tilewright.tests.faults import config_of, name_of
from tilewright.tuner.compare import CPU, Comparison, compare
from tilewright.tuner.evaluate import MeterOptions
from tilewright.tuner.evaluate.live import LiveMeter
from tilewright.tuner.evaluate.machine import Machine, this_machine
from tilewright.tuner.evaluate.meter import now
from tilewright.tuner.store import Store, open_store
from tilewright.tuner.trial import Measurement, Outcome, Trial

PROBLEM = Problem(8, 64, 64)


@pytest.fixture(scope="module")
def cpu() -> Iterator[LiveMeter]:
    opened = LiveMeter("cpu", MeterOptions())
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def played() -> Iterator[LiveMeter]:
    """A GPU's part, played by the host."""
    opened = LiveMeter("cpu", MeterOptions((name_of("HONEST"), name_of("UNWRITTEN"))))
    yield opened
    opened.close()


@pytest.fixture
def store() -> Iterator[Store]:
    with open_store("memory://") as opened:
        yield opened


def tuned(meter: LiveMeter, config: Config, time_us: float = 1.0) -> Trial:
    read = Measurement((time_us,), meter.protocol)
    environment = meter.environment(config)
    return Trial(PROBLEM, meter.device, config, environment, Outcome.MEASURED, now(), measurement=read)


def names(found: Comparison) -> list[str]:
    return [one.what for one in found.contenders]


def test_without_a_gpu_the_cpu_is_compared_and_the_rest_is_named(cpu: LiveMeter, store: Store) -> None:
    found = compare(PROBLEM, Machine(None, cpu), store)
    assert names(found) == ["CPU BLAS, bf16", "CPU BLAS, fp32"]
    assert found.reference == "CPU BLAS, bf16"
    assert found.missing == ("no NVIDIA GPU here: the tuned kernel and cuBLAS are missing",)
    own, wide = found.contenders
    assert own.ratio is None
    assert wide.ratio is not None
    assert math.isfinite(wide.ratio.high)
    assert wide.problem == replace(PROBLEM, dtype="fp32", out_dtype="fp32")
    for one in found.contenders:
        assert one.config == Config.of(CPU)
        assert one.threads == cpu.device.sm_count >= 1
        assert one.time_us > 0
        assert one.tflops == pytest.approx(PROBLEM.flops / one.time_us / 1e6)
        assert one.of_roofline is not None
    assert [one.device for one in store.ceilings()] == [cpu.device]


def test_what_the_cpu_cannot_compute_is_named(cpu: LiveMeter, store: Store) -> None:
    found = compare(replace(PROBLEM, dtype="tf32", out_dtype="fp32"), Machine(None, cpu), store)
    assert names(found) == ["CPU BLAS, fp32"]
    assert "the CPU's BLAS does not compute tf32 to fp32" in found.missing


def test_fp32_is_read_once(cpu: LiveMeter, store: Store) -> None:
    assert names(compare(replace(PROBLEM, dtype="fp32", out_dtype="fp32"), Machine(None, cpu), store)) == [
        "CPU BLAS, fp32"
    ]


def test_the_tuned_kernel_is_raced_against_the_library(cpu: LiveMeter, played: LiveMeter, store: Store) -> None:
    store.add_all([tuned(played, config_of("HONEST", 2)), tuned(played, Config.of(CPU), 0.5)])
    found = compare(PROBLEM, Machine(played, cpu), store)
    assert names(found) == ["cuBLAS", "tuned", "CPU BLAS, bf16", "CPU BLAS, fp32"]
    library, ours, *hosts = found.contenders
    assert library.ratio is None
    assert ours.config == config_of("HONEST", 2)
    assert ours.ratio is not None
    assert all(one.ratio is not None for one in hosts)
    assert found.verdict.startswith(("ahead: ", "tie: ", "undecided: "))
    assert not any("tuned" in note for note in found.missing)


def test_nothing_tuned_says_how_to_tune(cpu: LiveMeter, played: LiveMeter, store: Store) -> None:
    found = compare(PROBLEM, Machine(played, cpu), store)
    assert names(found) == ["cuBLAS", "CPU BLAS, bf16", "CPU BLAS, fp32"]
    assert any("run `tilewright tune 8x64x64`" in note for note in found.missing)


def test_a_winner_that_is_wrong_today_does_not_race(cpu: LiveMeter, played: LiveMeter, store: Store) -> None:
    store.add(tuned(played, config_of("UNWRITTEN")))
    found = compare(PROBLEM, Machine(played, cpu), store)
    assert "tuned" not in names(found)
    assert any("is wrong today" in note for note in found.missing)


def test_a_winner_that_is_no_point_of_the_space_any_more_does_not_race(
    cpu: LiveMeter, played: LiveMeter, store: Store
) -> None:
    store.add(tuned(played, config_of("HONEST").replace(variant=99)))
    found = compare(PROBLEM, Machine(played, cpu), store)
    assert "tuned" not in names(found)
    assert any("is not in today's space" in note for note in found.missing)


def test_the_winner_of_the_regime_stands_before_that_of_another(
    cpu: LiveMeter, played: LiveMeter, store: Store
) -> None:
    other = tuned(played, config_of("HONEST", 3), 0.1)
    assert other.measurement is not None
    store.add_all(
        [
            tuned(played, config_of("HONEST", 1), 5.0),
            replace(other, measurement=replace(other.measurement, protocol="burst/1")),
        ]
    )
    found = compare(PROBLEM, Machine(played, cpu), store)
    assert [one.config for one in found.contenders if one.what == "tuned"] == [config_of("HONEST", 1)]


def test_this_machine_has_a_host() -> None:
    with this_machine(MeterOptions(regime="burst")) as machine:
        assert machine.cpu.device.arch == "cpu"
        assert machine.cpu.protocol == "burst/3"
        assert isinstance(machine.concerns, tuple)
