"""Crossovers of made-up curves, and of the host; where a GPU is asked for, the host plays that as well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from tilewright.kernels.problem import Problem
from tilewright.tuner.crossover import CPU, GPU, PAGEABLE, PINNED, Curve, Overtaking, Point, crossover, sentence
from tilewright.tuner.crossover import _overtaking as overtaking
from tilewright.tuner.evaluate import MeterOptions
from tilewright.tuner.evaluate.health import gpu_count
from tilewright.tuner.evaluate.live import LiveMeter
from tilewright.tuner.evaluate.machine import Machine
from tilewright.tuner.store import Store, open_store

LAYER = Problem(0, 64, 32)


@pytest.fixture(scope="module")
def cpu() -> Iterator[LiveMeter]:
    opened = LiveMeter("cpu", MeterOptions())
    yield opened
    opened.close()


@pytest.fixture
def store() -> Iterator[Store]:
    with open_store("memory://") as opened:
        yield opened


def curve(where: str, times_us: Sequence[float]) -> Curve:
    return Curve(where, tuple(Point(2**index, time, "") for index, time in enumerate(times_us)))


@pytest.mark.parametrize(
    ("cpu_us", "gpu_us", "m", "above"),
    [
        ([10, 20, 40], [5, 5, 5], 1.0, None),
        ([1, 2, 4], [5, 5, 5], None, 4),
        ([1, 2, 4, 8], [2, 2, 2, 2], 2.0, 2),
        ([1, 2, 4, 8], [4, 4, 2, 2], 2 * 2**0.5, 2),
        ([9, 1, 4, 8], [2, 2, 2, 2], 2 * 2**0.5, 2),  # ahead, behind, ahead: only the last counts
    ],
)
def test_a_curve_overtakes_where_it_is_below_from_then_on(
    cpu_us: list[float], gpu_us: list[float], m: float | None, above: int | None
) -> None:
    found = overtaking(curve(GPU, gpu_us), curve(CPU, cpu_us))
    assert found.above == above
    assert found.m == (None if m is None else pytest.approx(m))


def test_points_that_the_cpu_lacks_are_no_points() -> None:
    short = Curve(CPU, (Point(1, 1.0, ""), Point(4, 9.0, "")))
    assert overtaking(curve(GPU, [2, 0.1, 2]), short).m is not None
    assert overtaking(Curve(GPU, ()), short) == Overtaking(GPU, None, None)


@pytest.mark.parametrize(
    ("overtakings", "said"),
    [
        ([], "Only the CPU was measured"),
        (
            [Overtaking(GPU, 1.0, None)],
            "With its data on the GPU this layer should run on the GPU at every m measured.",
        ),
        (
            [Overtaking(GPU, 1.0, None), Overtaking(PINNED, 6.4, 4)],
            "with its data in pinned host memory, on the CPU up to about m = 6 and on the GPU beyond.",
        ),
        ([Overtaking(GPU, None, 64)], "on the CPU at every m measured."),
    ],
)
def test_one_sentence_says_where_to_run(overtakings: list[Overtaking], said: str) -> None:
    assert said in sentence(overtakings)


def test_without_a_gpu_there_is_the_cpu_and_what_is_missing(cpu: LiveMeter, store: Store) -> None:
    found = crossover(LAYER, [4, 1, 16], Machine(None, cpu), store)
    assert [one.where for one in found.curves] == [CPU]
    assert [point.m for point in found.curves[0].points] == [1, 4, 16]
    assert all(point.time_us > 0 and "threads" in point.how for point in found.curves[0].points)
    assert found.missing == ("no NVIDIA GPU here: its three curves are missing",)
    assert found.overtakings == ()
    assert found.devices == (cpu.device.name,)


@pytest.mark.skipif(gpu_count() > 0, reason="page-locked memory works where there is a GPU")
def test_four_places_are_read_and_one_that_fails_is_named(cpu: LiveMeter, store: Store) -> None:
    """The host has no page-locked memory to move from."""
    found = crossover(LAYER, [1, 8], Machine(cpu, cpu), store, move_weights=True)
    assert [one.where for one in found.curves] == [CPU, GPU, PAGEABLE]
    assert [one.where for one in found.overtakings] == [GPU, PAGEABLE]
    assert any(note.startswith(f"{PINNED} at m = 1") for note in found.missing)
    assert found.move_weights
    assert all(point.how == "cpu_blas" for point in found.curves[1].points)


def test_a_crossover_of_nothing_is_refused(cpu: LiveMeter, store: Store) -> None:
    with pytest.raises(ValueError, match="give at least one m"):
        crossover(LAYER, [], Machine(None, cpu), store)
