"""`LiveMeter`: measures on a real device, a GPU or the host, in a process of its own, while a pool compiles ahead."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from multiprocessing.connection import wait
from typing import Final

from ...kernels import families
from ...kernels.config import Config
from ...kernels.device import Device
from ...kernels.problem import Problem
from ...kernels.space import ConfigSpace
from ...kernels.stale import Today
from ..referee import verdict_text
from ..roofline import Ceilings
from ..trial import Environment, Lane, Outcome, Race, Resources, Trial
from .compiler import Built, CompilePool
from .ledger import Ledger
from .limits import CEILINGS_S, Limits
from .measuring import Measuring
from .messages import (
    CeilingsRequest,
    Evaluated,
    EvaluateRequest,
    Raced,
    RaceRequest,
    ReadLane,
    ReadRequest,
)
from .meter import MeterOptions, RaceLimit, Spending, now
from .process import ProcessDied, ProcessTimedOut
from .regime import regime_of

# Requests sent ahead, so that the device does not wait while a sampler is asked or the next problem's space is made.
QUEUED: Final = 4


@dataclass(frozen=True, slots=True)
class Ready:
    """A config that is compiled, or has nothing to compile."""

    problem: Problem
    config: Config
    resources: Resources | None


@dataclass(slots=True)
class UnderWay:
    ready: Ready
    started_at: datetime


class LiveMeter:
    """Measures on `cuda:INDEX` or on the host (`where` is "0", "1", ... or "cpu").

    Raises:
        MeterError: the device is not there, or the measuring process does not start.
    """

    capacity: int

    def __init__(self, where: str, options: MeterOptions) -> None:
        self._regime = regime_of(options.regime)
        self._limits = Limits(options.evaluate_timeout_s, self._regime)
        self._opened = time.monotonic()
        self._families = tuple(families.family(name) for name in options.families or families.FAMILIES)
        self._process = Measuring(where, options.seed, self._regime.name)
        self._welcome = self._process.welcome
        self._pool = CompilePool(self.device, options.jobs) if self.device.capability else None
        self.capacity = 1 if self._pool is None else 2 * self._pool.size + 2
        self._ready: deque[Ready] = deque()
        self._under_way: deque[UnderWay] = deque()
        self._ended: list[Trial] = []
        self._best_speed: dict[Problem, float] = {}
        self._ledger = Ledger()

    @property
    def device(self) -> Device:
        return self._welcome.device

    @property
    def protocol(self) -> str:
        return self._regime.protocol

    @property
    def concerns(self) -> tuple[str, ...]:
        return self._welcome.concerns

    @property
    def spending(self) -> Spending:
        return self._ledger.total()

    @property
    def busy_share(self) -> float:
        """Of the time since this meter was opened, what the measuring process spent on checks, readings and races."""
        return self._process.worked_seconds / (time.monotonic() - self._opened)

    def space(self, problem: Problem) -> ConfigSpace:
        names = tuple(one.name for one in self._families if not one.is_library)
        return families.space(problem, self.device, names) if names else ConfigSpace((), ())

    def defaults(self, problem: Problem) -> tuple[Config, ...]:
        return families.first_guesses(problem, self.device, tuple(one.name for one in self._families))

    def library(self, problem: Problem) -> Config | None:
        for family in families.FAMILIES.values():
            if family.is_library and len(family.space(problem, self.device)):
                return Config.of(family.name)
        return None

    def environment(self, config: Config) -> Environment:
        welcome = self._welcome
        return Environment(
            triton=welcome.triton,
            torch=welcome.torch,
            cuda=welcome.cuda,
            driver=welcome.driver,
            python=welcome.python,
            kernel_hash=families.kernel_hash(config.family),
        )

    @property
    def today(self) -> Today:
        names = dict.fromkeys((*families.FAMILIES, *(family.name for family in self._families)))
        return {name: self.environment(Config.of(name)) for name in names}

    def submit(self, problem: Problem, config: Config) -> None:
        if self._pool is None or families.family(config.family).binary is None:
            self._ready.append(Ready(problem, config, None))
        else:
            self._pool.submit(problem, config)

    def prefetch(self, problem: Problem, configs: Iterable[Config]) -> None:
        if self._pool is not None:
            self._pool.prefetch(problem, configs)

    def withdraw(self) -> list[Config]:
        return [] if self._pool is None else [job.config for job in self._pool.withdraw()]

    def collect(self) -> list[Trial]:
        while True:
            self._gather_compiled()
            self._measure_next()
            if self._ended:
                ended, self._ended = self._ended, []
                return ended
            if not self._under_way and not self._pool_size():
                return []
            self._wait(bool(self._under_way))

    def race(
        self,
        problem: Problem,
        configs: tuple[Config, ...],
        limit: RaceLimit,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Race | None:
        library = self.library(problem)
        if library is None or not problem.flops:
            return None
        racers = (library, *(config for config in configs if config != library))
        started_at = now()
        request = RaceRequest(problem, racers, limit.rounds, limit.seconds)
        seconds = self._limits.race_s(problem, len(racers), limit)
        raced = self._process.ask(request, seconds, partial(self._compile_until_answered, meanwhile))
        if not raced.times_us:
            return None
        lanes = tuple(
            Lane(one, self.environment(one), read, rested)
            for one, read, rested in zip(racers, raced.times_us, raced.rested_us, strict=True)
        )
        self._ledger.race(problem, raced.read_s, limit.rounds)
        race = Race(problem, self.device, self.protocol, library, lanes, started_at)
        return replace(race, notes=(verdict_text(race), *raced.warnings))

    def read(self, lanes: Sequence[ReadLane], limit: RaceLimit, at_least: int) -> Raced:
        """One time a round for each lane, in turn; without times, and with a reason, where one of them failed."""
        request = ReadRequest(tuple(lanes), limit.rounds, limit.seconds, at_least)
        work_s = sum(self._limits.evaluate_s(lane.problem) for lane in lanes)
        return self._process.ask(request, limit.seconds + work_s)

    def ceilings(self) -> Ceilings | None:
        found: Ceilings | None = self._process.ask_for(CeilingsRequest(), CEILINGS_S)
        return found

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
        self._process.close()

    def _pool_size(self) -> int:
        return 0 if self._pool is None else len(self._pool)

    def _compile_until_answered(self, meanwhile: Callable[[], None]) -> None:
        """What is compiled ahead goes on while the device is raced; nothing is submitted then. A host is left
        alone, for there is nothing to compile."""
        if self._pool is not None:
            meanwhile()
        while not self._process.has_answered:
            self._gather_compiled()
            self._wait(measuring=True)

    def _wait(self, measuring: bool) -> None:
        connections = [] if self._pool is None else self._pool.connections()
        limit = 60.0 if self._pool is None else self._pool.seconds_left()
        if measuring:
            connections.append(self._process.connection)
            limit = min(limit, self._process.seconds_left())
        wait(connections, timeout=max(0.0, min(limit, 60.0)))

    def _gather_compiled(self) -> None:
        for built in self._pool.collect() if self._pool is not None else ():
            if built.reason:
                self._ended.append(self._not_compiled(built))
            else:
                self._ready.append(Ready(built.job.problem, built.job.config, built.resources))

    def _measure_next(self) -> None:
        """Takes the measuring process's answers that are there, and sends the next configs."""
        while self._under_way and self._process.has_answered:
            self._take_answer(self._under_way.popleft())
            if self._under_way:
                self._under_way[0].started_at = now()
        while self._ready and len(self._under_way) < QUEUED and self._give(self._ready[0]):
            self._ready.popleft()

    def _give(self, ready: Ready) -> bool:
        """Sends it; or not, to a process that has died of what it was sent before, as that one's answer will tell."""
        best = self._best_speed.get(ready.problem, 0.0)
        under_way = UnderWay(ready, now())
        try:
            limit_s = self._limits.evaluate_s(ready.problem)
            self._process.send(EvaluateRequest(ready.problem, ready.config, best), limit_s)
        except ProcessDied as died:
            if self._under_way:
                return False
            self._fail(under_way, Outcome.CRASHED, str(died))
            return True
        self._under_way.append(under_way)
        return True

    def _take_answer(self, under_way: UnderWay) -> None:
        try:
            answer: Evaluated = self._process.receive()
        except ProcessTimedOut:
            limit = self._limits.evaluate_s(under_way.ready.problem)
            self._fail(under_way, Outcome.TIMED_OUT, f"no end in {limit:.0f} s: the measuring process was replaced")
            return
        except ProcessDied as died:
            self._fail(under_way, Outcome.CRASHED, str(died))
            return
        trial = self._trial(under_way, answer.outcome, answer.reason, answer)
        self._ended.append(trial)
        if trial.measurement is not None:
            problem, speed = under_way.ready.problem, trial.measurement.speed or 0.0
            self._best_speed[problem] = max(speed, self._best_speed.get(problem, 0.0))
        self._ledger.trial(under_way.ready.problem, answer.read_s, answer.round_s)
        if answer.fatal:
            self._replace()

    def _fail(self, under_way: UnderWay, outcome: Outcome, reason: str) -> None:
        self._ended.append(self._trial(under_way, outcome, reason))
        self._replace()

    def _replace(self) -> None:
        """What was sent ahead is sent again, to another process."""
        self._ready.extendleft(reversed([one.ready for one in self._under_way]))
        self._under_way.clear()
        self._process.replace()

    def _not_compiled(self, built: Built) -> Trial:
        ready = Ready(built.job.problem, built.job.config, built.resources)
        return self._trial(UnderWay(ready, now()), built.outcome, built.reason)

    def _trial(self, under_way: UnderWay, outcome: Outcome, reason: str, found: Evaluated | None = None) -> Trial:
        ready = under_way.ready
        return Trial(
            problem=ready.problem,
            device=self.device,
            config=ready.config,
            environment=self.environment(ready.config),
            outcome=outcome,
            started_at=under_way.started_at,
            reason=reason,
            checks=found.checks if found is not None else (),
            measurement=found.measurement if found is not None else None,
            resources=ready.resources,
        )
