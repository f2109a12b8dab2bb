"""What programs share that evaluate configs and race the fastest: the trials, the standings, and what is written."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tilewright.kernels import families
from tilewright.kernels.config import Config
from tilewright.kernels.problem import Problem
from tilewright.tuner.api import TuneOptions
from tilewright.tuner.evaluate import Meter
from tilewright.tuner.referee import lane_ratio
from tilewright.tuner.store import TrialQuery, open_store
from tilewright.tuner.study import Study
from tilewright.tuner.trial import Outcome, Race, Trial


@dataclass(slots=True)
class Found:
    """What was found so far, as it is written.

    Attributes:
        wrong: what did not compute the right thing, or not at all, and why.
        races: one a problem and regime.
        geometric_means: of the races' `ratio`, by what a program tells apart.
    """

    command: str
    device: str = ""
    environment: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    evaluated: list[dict[str, Any]] = field(default_factory=list)
    races: list[dict[str, Any]] = field(default_factory=list)
    geometric_means: dict[str, float] = field(default_factory=dict)

    def start(self, meter: Meter, family: str) -> None:
        self.device = meter.device.name
        self.environment = asdict(meter.environment(Config.of(family)))

    def evaluate(self, meter: Meter, problem: Problem, configs: Iterable[Config]) -> list[Trial]:
        """The trials of these configs, kept; one that failed is printed."""
        for config in configs:
            meter.submit(problem, config)
        trials = list(collected(meter))
        self.evaluated += [self.told(trial) for trial in trials]
        return trials

    def search(self, meter: Meter, problem: Problem, seconds: float) -> list[Trial]:
        """The trials of a search of so many seconds, or of as many trials as `tune` makes if that is less. That
        of the library is left out. They are kept as those of `evaluate` are."""
        options = TuneOptions().study()
        with open_store("memory://") as store:
            until = time.monotonic() + seconds
            Study(problem, meter, store, options).advance(options.effort.trials, until, lambda progress: None)
            stored = store.trials(TrialQuery(problem=problem))
        trials = [trial for trial in stored if not families.family(trial.config.family).is_library]
        self.evaluated += [self.told(trial) for trial in trials]
        return trials

    def told(self, trial: Trial) -> dict[str, Any]:
        """A trial as it is written."""
        if trial.outcome is not Outcome.MEASURED:
            self.wrong.append(f"{trial.problem} {trial.config}: {trial.outcome} {trial.reason}")
            print(self.wrong[-1], flush=True)
        return {
            "problem": trial.problem.key,
            "config": str(trial.config),
            "outcome": trial.outcome.value,
            "reason": trial.reason,
            "errors": [one.error for one in trial.checks],
            "median_us": trial.median_us,
            "speed": trial.measurement.speed if trial.measurement else None,
            "resources": asdict(trial.resources) if trial.resources else None,
        }

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def collected(meter: Meter) -> Iterator[Trial]:
    while trials := meter.collect():
        yield from trials


def measured(trials: Iterable[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.outcome is Outcome.MEASURED]


def valid(names: tuple[str, ...], problem: Problem, meter: Meter, listed: Iterable[Config]) -> list[Config]:
    """The families' defaults and those listed; what a problem refuses is left out."""
    defaults = [config for name in names for config in families.family(name).defaults(problem, meter.device)]
    space = families.space(problem, meter.device, names)
    return [config for config in dict.fromkeys((*defaults, *listed)) if config in space]


def standings(raced: Race) -> list[dict[str, Any]]:
    """Each lane of a race against the library, by rounds."""
    found = []
    for lane in raced.lanes:
        ratio, median_us = lane_ratio(raced, lane), statistics.median(lane.times_us)
        found.append(
            {
                "config": str(lane.config),
                "library": families.family(lane.config.family).is_library,
                "ratio": ratio.median if ratio else 1.0,
                "low": ratio.low if ratio else 1.0,
                "high": ratio.high if ratio else 1.0,
                "median_us": median_us,
                "tflops": raced.problem.flops / median_us / 1e6,
                "times_us": lane.times_us,
            }
        )
    return found
