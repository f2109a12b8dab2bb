"""Regimes: what a device does between readings, on the host, whose laps are as real as a GPU's."""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import dataclass, field, replace

import pytest
import torch

from tilewright.kernels.config import Config
from tilewright.kernels.operands import Operands, random_operands
from tilewright.kernels.problem import Problem
from tilewright.tuner.evaluate.bench import Bench, Prepared
from tilewright.tuner.evaluate.health import Monitor, Vitals
from tilewright.tuner.evaluate.ledger import Ledger
from tilewright.tuner.evaluate.messages import Evaluated, EvaluateRequest
from tilewright.tuner.evaluate.meter import Spending
from tilewright.tuner.evaluate.pace import Pace
from tilewright.tuner.evaluate.regime import DEFAULT, REGIMES, regime_of
from tilewright.tuner.evaluate.rounds import Rounds
from tilewright.tuner.evaluate.server import Server
from tilewright.tuner.evaluate.timing import MAX_LAUNCHES, HostLap, whole_walks
from tilewright.tuner.referee import BLOCK

PROBLEM = Problem(8, 64, 64, "fp32")


@dataclass
class Runners:
    """Laps that sleep, and when each of them ran: (name, second)."""

    ran: list[tuple[str, float]] = field(default_factory=list)

    def lap(self, name: str, ms: float) -> HostLap:
        def launch() -> None:
            self.ran.append((name, time.monotonic()))
            time.sleep(ms / 1e3)

        return HostLap([launch], 1, ms * 1e3)

    @property
    def names(self) -> str:
        return "".join(name for name, _ in self.ran)


@pytest.fixture
def runners() -> Runners:
    return Runners()


def always(read: int, speed: float) -> bool:
    return True


def test_every_regime_is_a_protocol_of_its_own() -> None:
    assert len({one.protocol for one in REGIMES.values()}) == len(REGIMES)
    assert REGIMES[DEFAULT].protocol == "interleaved/3"
    with pytest.raises(ValueError, match="use one of interleaved, burst, sustained"):
        regime_of("idle")


@pytest.mark.parametrize("name", REGIMES)
def test_readings_are_those_of_the_laps_in_their_order(name: str, runners: Runners) -> None:
    quick = replace(REGIMES[name], settle_us=min(REGIMES[name].settle_us, 4000.0), reading_us=2000.0)
    short, long = runners.lap("a", 1.0), runners.lap("b", 20.0)
    times = Pace(quick).read([short, long, short])
    assert "".join(dict.fromkeys(runners.names)) == "ab"
    assert runners.names.endswith("a")
    assert all(time >= least for time, least in zip(times, (1e3, 20e3, 1e3), strict=True))


def test_a_burst_rests_before_each_reading(runners: Runners) -> None:
    Pace(REGIMES["burst"]).read([runners.lap("a", 1.0)] * 4)
    starts = [at for _, at in runners.ran]
    assert min(later - earlier for earlier, later in itertools.pairwise(starts)) >= 0.015


def test_a_sustained_reading_settles_before_it_is_read(runners: Runners) -> None:
    regime = replace(REGIMES["sustained"], settle_us=6000.0, reading_us=4000.0)
    (read_us,) = Pace(regime).read([runners.lap("a", 2.0)])
    assert runners.names == "a" * (3 + 2)
    assert read_us >= 2000


def test_a_load_is_kept_up_while_the_host_is_at_something_else(runners: Runners) -> None:
    pace, lap = Pace(REGIMES[DEFAULT]), runners.lap("a", 1.0)
    pace.load([lap], 0.02)
    before = len(runners.ran)
    pace.keep(lap)
    kept = len(runners.ran)
    pace.keep(lap)
    assert before < kept == len(runners.ran), "there is enough of it"
    time.sleep(0.02)
    pace.keep(lap)
    assert len(runners.ran) > kept
    again = len(runners.ran)
    pace.load([lap], 0.02)
    assert len(runners.ran) == again, "it has lasted without a pause"


@pytest.mark.parametrize("name", REGIMES)
def test_what_is_level_rests_before_each_reading_in_any_regime(name: str, runners: Runners) -> None:
    pace = Pace(REGIMES[name])
    rounds = Rounds(pace, [[runners.lap("l", 1.0), runners.lap("b", 1.0), runners.lap("c", 1.0)]], random.Random(0))
    pace.regime = replace(pace.regime, level_rest_s=0.01)
    library, beaten, level = rounds.rested([0, 2], 3)
    assert (len(library), beaten, len(level)) == (BLOCK, [], BLOCK)
    assert sorted(runners.names) == ["c"] * BLOCK + ["l"] * BLOCK
    starts = [at for _, at in runners.ran]
    assert min(later - earlier for earlier, later in itertools.pairwise(starts)) >= 0.01
    assert rounds.rested([], 3) == [[], [], []]


def test_only_the_default_regime_reads_again_after_a_rest() -> None:
    """A burst has rested before each reading, and who asks for sustained speed wants no other."""
    assert [one.name for one in REGIMES.values() if one.level_rest_s] == [DEFAULT]


def test_what_multiplies_little_for_its_bytes_is_not_read_again() -> None:
    bench = Bench(Server("cpu", 0).device, "cpu", 0)
    level = [[100.0] * 24] * 3
    assert bench._to_rest(Problem(4096, 4096, 4096), level) == [0, 1, 2]
    assert bench._to_rest(Problem(16, 4096, 4096), level) == []
    assert bench._to_rest(Problem(4096, 4096, 4096), level[:2]) == [], "one alone has nobody to be told from"


def test_a_load_lasts_and_is_not_repeated_without_a_pause(runners: Runners) -> None:
    pace, laps = Pace(REGIMES["sustained"]), [runners.lap("a", 1.0), runners.lap("b", 1.0)]
    pace.load(laps, 0.1)
    first = len(runners.ran)
    assert runners.ran[-1][1] - runners.ran[0][1] >= 0.07
    assert {"a", "b"} == set(runners.names)
    pace.load(laps, 0.05)
    assert len(runners.ran) == first
    time.sleep(0.05)
    pace.load(laps, 0.05)
    assert len(runners.ran) > first
    assert pace.seconds == 0, "nothing was read"


@pytest.mark.parametrize(("keep", "order"), [(0, "lc"), (1, "lccl"), (7, "lccllccllccllc")])
def test_pairs_alternate_and_end_when_they_are_not_worth_it(keep: int, order: str, runners: Runners) -> None:
    candidate, library = runners.lap("c", 0.3), runners.lap("l", 0.2)
    asked: list[tuple[int, float]] = []

    def worth(read: int, speed: float) -> bool:
        asked.append((read, speed))
        return read <= keep

    times, beside = Pace(REGIMES[DEFAULT]).read_pairs(candidate, library, 7, worth)
    assert runners.names == order
    assert len(times) == len(beside) == len(order) // 2
    assert [read for read, _ in asked] == [1, 2][: min(keep + 1, 2)]
    assert min(times) >= 300


def test_a_library_is_read_alone(runners: Runners) -> None:
    times, beside = Pace(REGIMES[DEFAULT]).read_pairs(runners.lap("l", 0.2), None, 3, always)
    assert (len(times), beside, runners.names) == (3, [], "lll")


@pytest.mark.parametrize("name", REGIMES)
def test_a_measurement_says_how_it_was_read(name: str) -> None:
    server = Server("cpu", 0, name)
    found = server.answer(EvaluateRequest(PROBLEM, Config.of("cpu_blas"), 0.0))
    assert isinstance(found, Evaluated)
    assert found.measurement is not None
    assert found.measurement.protocol == REGIMES[name].protocol
    assert found.read_s > 0
    assert found.round_s >= REGIMES[name].race_reading_us * 1e-6


class Troubled(Monitor):
    """A driver that reports trouble so many times."""

    def __init__(self, times: int) -> None:
        super().__init__(None)
        self.times = times

    def pollution(self) -> tuple[str, ...]:
        self.times -= 1
        return ("another process at work",) if self.times >= 0 else ()

    def vitals(self) -> Vitals:
        return Vitals(1980, 3201, 45, 300.0, ("power cap",))


@pytest.mark.parametrize(("times", "readings", "warnings"), [(0, 1, 0), (1, 2, 0), (2, 2, 1)])
def test_what_was_spoilt_is_read_again_once_and_then_marked(
    times: int, readings: int, warnings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server("cpu", 0)
    monkeypatch.setattr(server, "_monitor", Troubled(times))
    counted, time_ = [], server.bench.time

    def time(*arguments: object) -> object:
        counted.append(arguments)
        return time_(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(server.bench, "time", time)
    found = server.answer(EvaluateRequest(PROBLEM, Config.of("cpu_blas"), 0.0))
    assert isinstance(found, Evaluated)
    assert found.measurement is not None
    assert len(counted) == readings
    assert len(found.measurement.warnings) == warnings
    assert (found.measurement.memory_clock_mhz, found.measurement.throttle) == (3201, ("power cap",))


def test_what_is_hopeless_is_read_once() -> None:
    server = Server("cpu", 0)
    config = Config.of("tilewright.tests.faults:HONEST", variant=0)
    read = []
    for best in (0.0, 1e6):
        found = server.answer(EvaluateRequest(PROBLEM, config, best))
        assert isinstance(found, Evaluated)
        assert found.measurement is not None
        read.append(len(found.measurement.times_us))
    assert read[0] > 2
    assert read[1] == 1


def test_the_ledger_counts_what_a_race_had_and_what_all_would_have_had() -> None:
    ledger, other = Ledger(), Problem(1, 2, 3)
    for spent_s, round_s in ((0.02, 0.001), (0.002, 0.004), (0.0, 0.0)):
        ledger.trial(PROBLEM, spent_s, round_s)
    ledger.trial(other, 9.0, 9.0)  # never raced: there is no telling
    ledger.race(PROBLEM, 0.1, 24)
    ledger.race(PROBLEM, 0.1, 12)
    total = ledger.total()
    assert total.spent_s == pytest.approx(0.222)
    assert total.in_full_s == pytest.approx(24 * 0.005)
    assert Ledger().total() == Spending(0.0, 0.0)


def test_a_race_takes_a_new_order_every_two_rounds_and_runs_the_second_backwards(runners: Runners) -> None:
    places = [[runners.lap(name, 0.05) for name in names] for names in ("abcde", "ABCDE")]
    rounds = Rounds(Pace(REGIMES[DEFAULT]), places, random.Random(0))([0, 1, 2, 4], 12)
    assert [len(one) for one in rounds] == [4] * 12
    orders = [runners.names[start : start + 4] for start in range(0, 48, 4)]
    here, there = orders[0::4] + orders[1::4], orders[2::4] + orders[3::4]
    assert all(set(order) == set("abce") for order in here), "two rounds walk through the same operands"
    assert all(set(order) == set("ABCE") for order in there), "and the next two through others"
    assert all(one == back[::-1] for one, back in zip(orders[::2], orders[1::2], strict=True))
    assert len(set(orders)) > 4


def test_a_race_has_many_operands_where_launches_are_short() -> None:
    bench = Server("cpu", 0).bench
    bench.on_gpu = True  # as far as the choice goes; the operands are the host's
    problem = Problem(4, 32, 16)

    def rotations(sets: int) -> list[list[Operands]]:
        made = [random_operands(problem, torch.Generator().manual_seed(seed)) for seed in range(sets)]
        prepared = Prepared(problem, made, [], None)
        found = bench._rotations(prepared)
        assert bench._rotations(prepared) == found, "the next race of the problem takes the same memory"
        return found

    assert [len(one) for one in rotations(4)] == [4] * 8
    assert [len(one) for one in rotations(15)] == [15] * 3
    assert [len(one) for one in rotations(3)] == [3]
    assert len({one.b.data_ptr() for there in rotations(4) for one in there}) == 32


def test_a_race_makes_do_with_the_memory_that_others_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, left = Server("cpu", 0).bench, iter(range(18))
    bench.on_gpu = True  # as far as the choice goes
    problem = Problem(4, 32, 16)

    def scarce(problem: Problem, generator: torch.Generator) -> Operands:
        if next(left, None) is None:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return random_operands(problem, generator)

    made = [random_operands(problem, torch.Generator()) for _ in range(4)]
    monkeypatch.setattr("tilewright.tuner.evaluate.bench.random_operands", scarce)
    assert len(bench._rotations(Prepared(problem, made, [], None))) == 3, "of four more that fitted half are kept"


@pytest.mark.parametrize(("places", "launch_us"), [(1, 3.0), (2, 55.0), (3, 40.0), (64, 0.5), (64, 5.0), (7, 9000.0)])
def test_a_lap_ends_where_a_walk_through_its_operands_ends(places: int, launch_us: float) -> None:
    launches = whole_walks(places, launch_us, 1000.0)
    assert launches % places == 0
    assert 0 < launches <= max(places, MAX_LAUNCHES)
    assert launches * launch_us >= 1000.0 or launches + places > MAX_LAUNCHES
