"""Studies, plans and recordings, on recorded landscapes and a real store."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.kernels.config import Config
from tilewright.kernels.device import Device, nominal
from tilewright.kernels.families import first_guesses
from tilewright.kernels.problem import Problem
from tilewright.tests import recorded
from tilewright.tests.recorded import LIBRARY, OTHER, PROBLEM
from tilewright.tuner.effort import EFFORTS, Progress, StudyOptions
from tilewright.tuner.evaluate import RaceLimit
from tilewright.tuner.evaluate.replay import ReplayMeter, open_replay
from tilewright.tuner.landscape import Landscape, Reading, read_landscape, write_landscape
from tilewright.tuner.plan import PlanProgress, run_plan
from tilewright.tuner.recording import record_landscapes
from tilewright.tuner.store import Store, TrialQuery, open_store
from tilewright.tuner.study import Study
from tilewright.tuner.trial import Environment, Outcome, Race, Trial
from tilewright.tuner.warm import warm_starts

OPTIONS = StudyOptions(replace(EFFORTS["quick"], trials=25), "gp", seed=1)


class Watched(ReplayMeter):
    """A replay that notes what is submitted, and what the store held at that moment."""

    def watch(self, store: Store) -> None:
        self.store = store
        self.submitted: list[Config] = []
        self.stored_before: list[int] = []

    def submit(self, problem: Problem, config: Config) -> None:
        self.submitted.append(config)
        self.stored_before.append(len(self.store.trials(TrialQuery(problem=problem))))
        super().submit(problem, config)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "trials.db") as opened:
        yield opened


@pytest.fixture
def meter(tmp_path: Path, store: Store) -> Watched:
    plain = open_replay(recorded.write(tmp_path, PROBLEM, OTHER))
    watched = Watched(plain._landscapes, plain.device, plain._environment)
    watched.watch(store)
    return watched


def study(meter: Watched, store: Store, options: StudyOptions = OPTIONS, trials: int = 25) -> list[Progress]:
    told: list[Progress] = []
    found = Study(PROBLEM, meter, store, options)
    found.advance(trials, None, told.append)
    found.race()
    return told


def test_trials_are_counted_and_none_is_repeated(meter: Watched, store: Store) -> None:
    study(meter, store)
    trials = store.trials()
    assert len(trials) == 26, "25 and the library"
    assert len({trial.config for trial in trials}) == 26
    assert len(meter.submitted) == len(set(meter.submitted)) == 26
    assert meter.submitted[0] == LIBRARY


def test_a_trial_is_stored_before_the_next_is_asked(meter: Watched, store: Store) -> None:
    study(meter, store)
    assert meter.stored_before == list(range(26)), "a replay takes one at a time"


def test_an_interrupted_study_goes_on_and_repeats_nothing(meter: Watched, store: Store) -> None:
    study(meter, store, trials=10)
    first = {trial.config: trial for trial in store.trials()}
    study(meter, store)
    assert len(meter.submitted) == len(set(meter.submitted)) == 26
    again = {trial.config: trial for trial in store.trials()}
    assert {config: again[config] for config in first} == first


def test_a_finished_study_measures_nothing(meter: Watched, store: Store) -> None:
    study(meter, store)
    before = len(meter.submitted)
    study(meter, store)
    assert len(meter.submitted) == before


def test_a_study_may_try_only_what_gives_the_same_bits(tmp_path: Path, store: Store) -> None:
    """A family that is not known promises nothing."""
    readings = dict(recorded.landscape(PROBLEM).readings)
    unknown = {Config.of("somebody.elses:FAMILY", block_m=m): Reading(10.0) for m in (1, 2, 3)}
    path = tmp_path / f"{PROBLEM.key}.csv.gz"
    write_landscape(path, Landscape.of(PROBLEM.key, {**readings, **unknown}))
    everything = replace(OPTIONS, effort=EFFORTS["exhaustive"], sampler="exhaustive", deterministic=True)
    Study(PROBLEM, open_replay([path]), store, everything).advance(1000, None, lambda progress: None)
    assert {trial.config.family for trial in store.trials()} == {"tiled", "cublas"}
    assert len(store.trials()) == 97


def test_failures_are_kept_with_their_reason(meter: Watched, store: Store) -> None:
    study(meter, store, replace(OPTIONS, effort=EFFORTS["exhaustive"], sampler="exhaustive"), trials=1000)
    failed = store.trials(TrialQuery(outcome=Outcome.OUT_OF_RESOURCES))
    assert len(failed) == 4
    assert all(trial.reason and trial.measurement is None for trial in failed)
    assert len(store.trials()) == 97


def test_progress_is_sane(meter: Watched, store: Store) -> None:
    told = study(meter, store)
    assert [one.done for one in told] == list(range(1, 26))
    assert all(one.total == 25 and one.failed <= one.done for one in told)
    speeds = [one.best_speed for one in told if one.best_speed is not None]
    assert speeds == sorted(speeds)
    assert speeds[-1] >= 1.2


def test_the_clock_ends_a_study(meter: Watched, store: Store) -> None:
    Study(PROBLEM, meter, store, OPTIONS).advance(25, time.monotonic(), lambda progress: None)
    assert [trial.config for trial in store.trials()] == [LIBRARY]


def test_trials_of_another_toolchain_are_not_trusted(meter: Watched, store: Store) -> None:
    study(meter, store)
    meter._environment = replace(meter._environment, kernel_hash="another")
    meter.submitted.clear()
    study(meter, store)
    assert len(meter.submitted) == 26


def test_a_problem_that_its_share_of_the_time_was_too_short_for_is_tried_all_the_same(
    meter: Watched, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def submit(problem: Problem, config: Config) -> None:
        if (problem, config) == (OTHER, LIBRARY):
            time.sleep(2.3)
        Watched.submit(meter, problem, config)

    monkeypatch.setattr(meter, "submit", submit)
    run_plan([PROBLEM, OTHER], meter, store, options=replace(OPTIONS, shared=True, seconds=6.0), watch=lambda one: None)
    assert len(store.trials(TrialQuery(problem=OTHER))) > 1


def test_a_plan_shares_what_it_may_spend(meter: Watched, store: Store) -> None:
    told: list[PlanProgress] = []
    run_plan([PROBLEM, OTHER], meter, store, options=replace(OPTIONS, shared=True), watch=told.append)
    ours = [trial for trial in store.trials() if trial.config != LIBRARY]
    assert len(ours) == 50
    assert all(sum(trial.problem == problem for trial in ours) >= 15 for problem in (PROBLEM, OTHER))
    assert told[-1].done == 50
    assert all(one.done <= one.total and one.seconds_left >= 0 for one in told)


def test_what_a_problem_is_called_more_often_gets_more(meter: Watched, store: Store) -> None:
    options = replace(OPTIONS, shared=True)
    run_plan([PROBLEM, OTHER], meter, store, options=options, watch=lambda at: None, calls={PROBLEM: 1e6})
    counts = [len(store.trials(TrialQuery(problem=problem))) for problem in (PROBLEM, OTHER)]
    assert counts[0] > counts[1]


def test_without_calls_problems_count_alike(meter: Watched, store: Store) -> None:
    """One that takes a thousand times as long as the other is not given all that is shared: 36 trials each are dealt in
    any case, and of 48 more each gets its part."""
    plain = meter._landscapes
    slow = {config: replace(one, time_us=1000 * (one.time_us or 0)) for config, one in plain[OTHER].readings.items()}
    both = {**plain, OTHER: Landscape.of(OTHER.key, {one: read for one, read in slow.items() if read.time_us})}
    far = ReplayMeter(both, meter.device, meter._environment)
    options = replace(OPTIONS, effort=replace(OPTIONS.effort, trials=60), shared=True)
    run_plan([PROBLEM, OTHER], far, store, options=options, watch=lambda at: None)
    counts = [len(store.trials(TrialQuery(problem=problem))) for problem in (PROBLEM, OTHER)]
    assert min(counts) > 50, counts


class Busy(ReplayMeter):
    """A replay that notes what it is told to compile ahead, and when."""

    noted: list[str]

    def prefetch(self, problem: Problem, configs: Iterable[Config]) -> None:
        self.noted.append(f"{problem.key}: {len(tuple(configs))}")

    def race(
        self,
        problem: Problem,
        configs: tuple[Config, ...],
        limit: RaceLimit,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Race | None:
        self.noted.append("race")
        meanwhile()
        return None


def test_the_next_problem_and_the_next_asks_are_compiled_ahead(meter: Watched, store: Store) -> None:
    busy = Busy(meter._landscapes, meter.device, meter._environment)
    busy.noted = []
    run_plan([PROBLEM, OTHER], busy, store, options=OPTIONS, watch=lambda at: None)
    first_race = busy.noted.index("race")
    assert busy.noted[first_race + 1].startswith(OTHER.key), "what is likely of the next problem"
    assert not any(one.startswith(OTHER.key) for one in busy.noted[:first_race])
    assert f"{PROBLEM.key}: 16" in busy.noted[:first_race], "what the sampler holds hopeful"


def test_an_unshared_plan_gives_each_problem_its_trials(meter: Watched, store: Store) -> None:
    run_plan([PROBLEM, OTHER], meter, store, options=OPTIONS, watch=lambda at: None)
    assert [len(store.trials(TrialQuery(problem=problem))) for problem in (PROBLEM, OTHER)] == [26, 26]


def test_a_plan_keeps_to_its_seconds(meter: Watched, store: Store) -> None:
    started = time.monotonic()
    options = replace(OPTIONS, effort=replace(OPTIONS.effort, trials=90), seconds=0.3, shared=True)
    told: list[PlanProgress] = []
    run_plan([PROBLEM, OTHER], meter, store, options=options, watch=told.append)
    assert time.monotonic() - started < 3.0, "an ask or two past the end"
    assert {at.study.problem for at in told if at.ended} == {PROBLEM, OTHER}, "by their time"
    assert {trial.problem for trial in store.trials()} == {PROBLEM, OTHER}


def test_a_plan_whose_time_is_over_begins_no_problem_more(
    meter: Watched, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a library takes longer than all of the budget."""

    def submit(problem: Problem, config: Config) -> None:
        time.sleep(0.6)
        Watched.submit(meter, problem, config)

    monkeypatch.setattr(meter, "submit", submit)
    run_plan([PROBLEM, OTHER], meter, store, options=replace(OPTIONS, shared=True, seconds=0.5), watch=lambda at: None)
    assert [trial.problem for trial in store.trials()] == [PROBLEM]


def test_the_winner_of_a_near_problem_is_tried_early(meter: Watched, store: Store) -> None:
    study(meter, store)
    warm = warm_starts(OTHER, meter, store)
    best = min((one for one in store.trials() if one.config != LIBRARY), key=lambda one: one.median_us or 1e9)
    assert warm[0] == best.config
    meter.submitted.clear()
    run_plan([OTHER], meter, store, options=OPTIONS, watch=lambda at: None)
    assert best.config in meter.submitted[:3]


class Guessing(ReplayMeter):
    """A replay that has first guesses, as a GPU has them."""

    def defaults(self, problem: Problem) -> tuple[Config, ...]:
        return first_guesses(problem, self.device)


def test_of_near_problems_what_is_far_slower_here_is_no_warm_start(store: Store) -> None:
    """16 rows of A are one tile of these; of 128 they would be eight, and B is loaded for each."""
    few, many = Problem(16, 4096, 4096), Problem(128, 4096, 4096)
    low = Config.of("swapped", block_m=16, block_n=64, block_k=256, num_warps=4, num_stages=5, split=1)
    high = Config.of("descriptor", block_m=64, block_n=64, block_k=128, group_m=1, num_warps=4, num_stages=6,
                     programs_per_sm=0)  # fmt: skip
    readings = Landscape.of(few.key, {low: Reading(13.0), high: Reading(14.0)})
    meter = Guessing({few: readings, many: readings}, nominal("sm90"), Environment("", "", "", "", "", ""))
    for config in (low, high):
        meter.submit(few, config)
        store.add_all(meter.collect(), [])
    assert warm_starts(few, meter, store) == (low, high)
    assert warm_starts(many, meter, store) == (high,)


class Compiling(Watched):
    """A replay that has every third config compiled when it has nothing else to measure, or every one."""

    capacity = 6
    every = 3

    @cached_property
    def compiling(self) -> deque[tuple[Problem, Config]]:
        return deque()

    def submit(self, problem: Problem, config: Config) -> None:
        super().submit(problem, config)
        if len(self.submitted) % self.every == 0 and config != LIBRARY:
            self.compiling.append(self._waiting.pop())

    def collect(self) -> list[Trial]:
        if not self._waiting and self.compiling:
            self._waiting.append(self.compiling.popleft())
        return super().collect()

    def withdraw(self) -> list[Config]:
        taken = [config for _, config in self.compiling]
        self.compiling.clear()
        return taken


def test_what_is_not_compiled_when_the_time_is_up_is_tried_when_there_is_more(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = open_replay(recorded.write(tmp_path, PROBLEM))
    meter = Compiling(plain._landscapes, plain.device, plain._environment)
    meter.watch(store)
    found = Study(PROBLEM, meter, store, OPTIONS)
    clock = itertools.count()
    monkeypatch.setattr("tilewright.tuner.study.time", SimpleNamespace(monotonic=lambda: next(clock)))
    found.advance(100, 40.0, lambda progress: None)
    tried = {trial.config for trial in store.trials(TrialQuery(problem=PROBLEM))}
    given_up = [config for config in meter.submitted if config not in tried]
    assert given_up
    found.advance(found.size, None, lambda progress: None)
    assert found.done == found.size, "all of the space"
    assert [meter.submitted.count(config) for config in given_up] == [2] * len(given_up)


def test_a_problem_has_something_measured_however_short_its_time_is(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = open_replay(recorded.write(tmp_path, PROBLEM))
    meter = Compiling(plain._landscapes, plain.device, plain._environment)
    meter.watch(store)
    meter.every = 1
    found = Study(PROBLEM, meter, store, OPTIONS)
    clock = itertools.count()
    monkeypatch.setattr("tilewright.tuner.study.time", SimpleNamespace(monotonic=lambda: next(clock)))
    found.advance(100, 4.0, lambda progress: None)
    assert found.done == 1, "the others were taken back"
    assert len(meter.submitted) > 2


def test_a_file_that_was_recorded_anew_is_tried_anew(tmp_path: Path, store: Store) -> None:
    for scale, trials in ((1.0, 26), (1.0, 26), (2.0, 52)):
        path = tmp_path / f"{PROBLEM.key}.csv.gz"
        write_landscape(path, recorded.landscape(PROBLEM, scale))
        Study(PROBLEM, open_replay([path]), store, OPTIONS).advance(25, None, lambda progress: None)
        assert len(store.trials()) == trials


class Clocked(ReplayMeter):
    """A replay that takes time on a clock of its own: a failure ends early, and what no problem before had tried is
    compiled, for which the device waits a fifth longer (it waited 16% of a plan of sixty problems, H100)."""

    clock = 0.0

    def collect(self) -> list[Trial]:
        ended = super().collect()
        for trial in ended:
            slow = 1.0 + 0.5 * random.Random(str(trial.config)).random() + 0.25 * (trial.config not in self._compiled)
            self.clock += slow if trial.outcome is Outcome.MEASURED else 0.5
            self._compiled.add(trial.config)
        return ended

    @cached_property
    def _compiled(self) -> set[Config]:
        return set()


@pytest.mark.parametrize(("trials", "shared"), [(25, True), (25, False), (120, False)])
def test_the_time_left_is_right_within_a_fifth_after_the_first_quarter(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, trials: int, shared: bool
) -> None:
    problems = [replace(PROBLEM, m=m) for m in (1, 2, 4, 8, 16, 32, 64, 128)]
    plain = open_replay(recorded.write(tmp_path, *problems))
    meter = Clocked(plain._landscapes, plain.device, plain._environment)
    monkeypatch.setattr("tilewright.tuner.plan.time", SimpleNamespace(monotonic=lambda: meter.clock))
    told: list[PlanProgress] = []
    options = replace(OPTIONS, effort=replace(OPTIONS.effort, trials=trials), sampler="random", shared=shared)
    run_plan(problems, meter, store, options=options, watch=told.append)
    ends = told[-1].seconds
    late = [one for one in told if one.seconds >= ends / 4]
    assert len(late) > 50
    for one in late:
        assert one.seconds_left == pytest.approx(ends - one.seconds, rel=0.2, abs=2.0), "or a trial, at the very end"


class Racing(Clocked):
    """Whose races take long, however short their rounds are."""

    def race(
        self,
        problem: Problem,
        configs: tuple[Config, ...],
        limit: RaceLimit,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Race | None:
        self.clock += 8.0
        return super().race(problem, configs, limit, meanwhile)


def test_every_problem_is_tried_where_races_take_most_of_the_time(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = [replace(PROBLEM, m=m) for m in (1, 2, 4, 8, 16, 32, 64, 128)]
    plain = open_replay(recorded.write(tmp_path, *problems))
    meter = Racing(plain._landscapes, plain.device, plain._environment)
    for module in ("plan", "study"):
        monkeypatch.setattr(f"tilewright.tuner.{module}.time", SimpleNamespace(monotonic=lambda: meter.clock))
    options = replace(OPTIONS, effort=replace(OPTIONS.effort, trials=60), shared=True, seconds=160.0)
    run_plan(problems, meter, store, options=options, watch=lambda at: None)
    counts = [len(store.trials(TrialQuery(problem=problem))) for problem in problems]
    assert min(counts) > 5, counts
    assert meter.clock <= 170.0


@pytest.mark.parametrize("sampler", ["gp", "climb", "random", "tpe"])
@given(scores=st.lists(st.integers(0, 95), min_size=1, max_size=6, unique=True), seed=st.integers(0, 99))
@settings(max_examples=4, deadline=None)
def test_tuning_never_ends_below_the_best_of_its_warm_starts(sampler: str, scores: list[int], seed: int) -> None:
    landscape = recorded.landscape(OTHER)
    ours = sorted(config for config in landscape.readings if config != LIBRARY)
    stale = Environment("", "", "", "", "", "of another day")
    device = Device("replay of a test", "replay", 0, 0, 0, 0)
    readings = recorded.landscape(PROBLEM)
    old = ReplayMeter({PROBLEM: readings, OTHER: landscape}, device, stale)
    with open_store("memory://") as store:
        for number, score in enumerate(scores):  # of the problem itself, of a near one, in turn
            old.submit((OTHER, PROBLEM)[number % 2], ours[score])
            store.add_all(old.collect(), [])
        meter = ReplayMeter({OTHER: landscape}, device, replace(stale, kernel_hash="of today"))
        first = warm_starts(OTHER, meter, store)
        effort = replace(OPTIONS.effort, trials=len(first) or 1)
        run_plan([OTHER], meter, store, options=StudyOptions(effort, sampler, seed), watch=lambda at: None)
        today = [one for one in store.trials(TrialQuery(problem=OTHER)) if one.environment.kernel_hash == "of today"]
    found = min((one.median_us for one in today if one.median_us and one.config != LIBRARY), default=math.inf)
    assert found <= min((landscape.readings[one].time_us or math.inf for one in first), default=math.inf)


def test_a_recording_gives_the_landscape_back(meter: Watched, store: Store, tmp_path: Path) -> None:
    options = StudyOptions(EFFORTS["exhaustive"], "exhaustive")
    out = tmp_path / "out"
    out.mkdir()
    (path,) = record_landscapes([PROBLEM], meter, store, out=out, options=options, watch=lambda at: None)
    assert path == out / f"{PROBLEM.key}.csv.gz"
    again, original = read_landscape(path), recorded.landscape(PROBLEM)
    assert set(again.readings) == set(original.readings)
    for config, reading in original.readings.items():
        assert again.readings[config].outcome is reading.outcome
        assert again.readings[config].time_us == (reading.time_us and pytest.approx(reading.time_us))


def test_no_trial_is_lost_when_the_watcher_raises(meter: Watched, store: Store) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Study(PROBLEM, meter, store, OPTIONS).advance(25, None, interrupt)
    kept: list[Trial] = store.trials()
    assert len(kept) == 8
