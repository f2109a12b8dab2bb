"""Recording landscapes: an exhaustive study, and of it one row a config, free of the drift of clocks."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from ..kernels.problem import Problem
from .effort import StudyOptions
from .evaluate import Meter
from .landscape import Landscape, Reading, write_landscape
from .plan import PlanProgress, run_plan
from .store import Store, TrialQuery
from .study import fresh
from .trial import Measurement, Outcome, Trial

LEADING = ("block_m", "block_n", "block_k", "group_m", "num_warps", "num_stages")


def record_landscapes(
    problems: Sequence[Problem],
    meter: Meter,
    store: Store,
    *,
    out: Path,
    options: StudyOptions,
    watch: Callable[[PlanProgress], None],
) -> Iterator[Path]:
    """Studies each problem and writes its landscape into the folder `out`; the paths, as they are written.

    Raises:
        ValueError: the device has no kernel for one of the problems; nothing is studied then.
    """
    if lacking := [problem for problem in problems if not meter.space(problem)]:
        raise ValueError(
            f"{meter.device.name} has no kernel for {lacking[0]}, and so no landscape: name a GPU, or another problem"
        )
    for problem in problems:
        run_plan([problem], meter, store, options=options, watch=watch)
        stored = store.trials(TrialQuery(problem=problem, device=meter.device.name))
        path = out / f"{problem.key}.csv.gz"
        write_landscape(path, landscape_of(problem, fresh(stored, meter)))
        yield path


def landscape_of(problem: Problem, trials: Iterable[Trial]) -> Landscape:
    """The landscape of all trials of a problem, of one device, environment and protocol.

    A time is the library's median over the whole recording, divided by the config's paired speed: what it would have
    read beside it at one clock. The library is a row of its own.

    Raises:
        ValueError: no trial was measured.
    """
    found = list(trials)
    alone = [trial.measurement for trial in found if trial.measurement is not None]
    if not alone:
        raise ValueError(
            f"no trial of {problem} was measured: record it first, with `tilewright landscape {problem.key}`"
        )
    beside = [time for measurement in alone for time in measurement.reference_us]
    nominal = statistics.median(beside) if beside else None
    rows = sorted(found, key=lambda trial: trial.config)
    return Landscape.of(problem.key, {trial.config: _reading(trial, nominal) for trial in rows}, LEADING)


def _reading(trial: Trial, nominal: float | None) -> Reading:
    measurement = trial.measurement
    if measurement is None or trial.outcome is not Outcome.MEASURED:
        return Reading(None, 0.0, trial.outcome)
    times = _at_one_clock(measurement, nominal)
    return Reading(statistics.median(times), statistics.stdev(times) if len(times) > 1 else 0.0)


def _at_one_clock(measurement: Measurement, nominal: float | None) -> Sequence[float]:
    if nominal is None:
        return measurement.times_us
    if not measurement.reference_us:  # the library itself, whose clock is the one that counts
        return [nominal * time / measurement.median_us for time in measurement.times_us]
    pairs = zip(measurement.times_us, measurement.reference_us, strict=True)
    return [nominal * time / reference for time, reference in pairs]
