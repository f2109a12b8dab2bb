"""What is moved arrives: the host plays the device as well, and copies are real."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType

import pytest
import torch

from tilewright.kernels import families
from tilewright.kernels.config import Config
from tilewright.kernels.families import FAMILIES, family
from tilewright.kernels.operands import random_operands
from tilewright.kernels.problem import LAYOUTS, Problem
from tilewright.tests.faults import config_of, name_of
from tilewright.tuner.evaluate import MeterOptions, RaceLimit
from tilewright.tuner.evaluate.bench import Bench
from tilewright.tuner.evaluate.live import LiveMeter
from tilewright.tuner.evaluate.messages import Placement, ReadLane, ReadRequest
from tilewright.tuner.evaluate.server import host
from tilewright.tuner.evaluate.transfers import moving, read_lanes, twin

CPU = Config.of("cpu_blas")


@pytest.fixture
def bench() -> Bench:
    return Bench(host(), "cpu", 0)


@pytest.fixture(scope="module")
def meter() -> Iterator[LiveMeter]:
    opened = LiveMeter("cpu", MeterOptions())
    yield opened
    opened.close()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_go_up_and_the_result_comes_down(layout: str) -> None:
    generator = torch.Generator("cpu")
    generator.manual_seed(0)
    operands = random_operands(Problem(4, 6, 8, "fp32", layout), generator)
    up, down = [twin(operands.a, False), twin(operands.b, False)], twin(operands.d, False)
    expected = operands.a @ operands.b
    operands.a.zero_()
    operands.b.zero_()
    waited: list[int] = []

    def multiply() -> None:
        torch.mm(operands.a, operands.b, out=operands.d)

    moving(multiply, up, down, lambda: waited.append(1))()
    assert torch.equal(down.host, expected)
    assert waited == [1]


@pytest.mark.parametrize("placement", [Placement.DEVICE, Placement.PAGEABLE])
@pytest.mark.parametrize("move_weights", [False, True])
def test_lanes_are_read_in_turn(bench: Bench, placement: Placement, move_weights: bool) -> None:
    lanes = tuple(ReadLane(Problem(m, 64, 32, "fp32"), CPU, placement, move_weights) for m in (1, 8))
    times = read_lanes(bench, ReadRequest(lanes, 5, 1.0, 2), lambda: False)
    assert [len(lane) for lane in times] == [5, 5]
    assert all(time > 0 for lane in times for time in lane)
    assert [len(lane) for lane in read_lanes(bench, ReadRequest(lanes, 5, 1.0, 2), lambda: True)] == [2, 2]


def test_a_layer_keeps_its_weights_for_every_m(bench: Bench) -> None:
    first, second, other = Problem(1, 64, 32), Problem(9, 64, 32), Problem(1, 32, 64)
    rotation = bench.rotation(first)
    weights = [one.b.data_ptr() for one in rotation]
    assert len(set(weights)) == len({one.a.data_ptr() for one in rotation}) == len(rotation) > 1
    assert all(torch.equal(one.b, rotation[0].b) and one.b.stride() == rotation[0].b.stride() for one in rotation)
    again = bench.rotation(second)
    assert [one.b.data_ptr() for one in again] == weights[: len(again)]
    assert again[0].a.shape == (9, 32)
    assert not {one.b.data_ptr() for one in bench.rotation(other)} & set(weights)


def test_a_library_that_refuses_fails_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As cuBLAS does with some problems of fp8 that its space admits."""
    refusing = replace(FAMILIES["cpu_blas"], bind=family(name_of("RAISES")).bind)
    monkeypatch.setattr(families, "FAMILIES", MappingProxyType({**FAMILIES, "cpu_blas": refusing}))
    prepared, honest = bench.prepare(Problem(16, 24, 8, "fp32")), config_of("HONEST")
    assert prepared.library is None
    assert all(check.passed for check in bench.check(prepared, honest))
    times = bench.time(prepared, honest, lambda read, speed: True)
    assert times.times_us
    assert not times.reference_us
    with pytest.raises(RuntimeError, match="refused"):
        bench.check(prepared, CPU)


def test_a_lane_that_fails_says_why_and_the_meter_goes_on(meter: LiveMeter) -> None:
    limit = RaceLimit(rounds=2, seconds=0.1)
    failed = meter.read([ReadLane(Problem(4, 8, 8), Config.of("tilewright.tests.faults:RAISES", variant=0))], limit, 1)
    assert failed.times_us == ()
    assert "the launch was refused" in failed.reason
    died = meter.read([ReadLane(Problem(4, 8, 8), Config.of("tilewright.tests.faults:ABORTS", variant=0))], limit, 1)
    assert died.times_us == ()
    assert "SIGABRT" in died.reason
    assert len(meter.read([ReadLane(Problem(4, 8, 8), CPU)], limit, 1).times_us[0]) >= 1


def test_ceilings_are_rates_of_this_machine(meter: LiveMeter) -> None:
    found = meter.ceilings()
    assert found is not None
    assert found.device == meter.device
    assert found.copy_gbs > 0.1
    assert found.fp32_tflops is not None
    assert found.bf16_tflops is not None
    assert found.fp32_tflops > 0
    assert found.tf32_tflops is None, "a CPU has no tf32"
    assert found.pinned_up_gbs is found.pageable_down_gbs is None
