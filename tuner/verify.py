"""Whether stored winners still hold: checked and raced again, with their runners-up, under today's toolchain."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..kernels.config import Config
from ..kernels.problem import Problem
from .evaluate import Meter, RaceLimit
from .store import Store
from .store.ranking import Ranked, ranking
from .trial import Outcome, Trial

SLOWER: Final = 0.02  # of the ratio that the winner had; what a race resolves and a user notices
_RACE: Final = RaceLimit(rounds=60, seconds=1.0)


class Change(StrEnum):
    """What became of a winner."""

    KEPT = "kept"
    REPLACED = "replaced"
    SLOWER = "slower"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One problem, before and after.

    Attributes:
        before, after: the winner's standing; `after` is None when nothing stored works any more.
        change: KEPT and REPLACED are as fast as before, as far as both were read in the same way; SLOWER is not,
            whoever won; BROKEN: the winner failed and what is left is slower, or nothing is left.
        failed: (config, reason) of what did not pass today.
    """

    problem: Problem
    before: Ranked
    after: Ranked | None
    change: Change
    failed: tuple[tuple[Config, str], ...]

    @property
    def regressed(self) -> bool:
        return self.change in (Change.SLOWER, Change.BROKEN)


def verify(problem: Problem, meter: Meter, store: Store, runners_up: int = 3) -> Verdict | None:
    """Tries the stored winner of `problem` and its runners-up again, races them, and keeps what was found.

    None when nothing of our own is stored for that problem and device.

    Args:
        problem: of which a result is stored.
        meter: the device, as it is today.
        store: gets the new trials and the race.
        runners_up: how many are tried beside the winner.
    """
    read = _comparable(problem, meter, store)
    stored = ranking(read, problem, meter.device.name, count=runners_up + 2)
    ours = [one.config for one in stored if one.config.items_by_axis][: runners_up + 1]
    if not ours:
        return None
    before = next(one for one in stored if one.config.items_by_axis)
    trials = _try_again(problem, meter, store, ours)
    good = tuple(config for config in ours if config in trials and trials[config].outcome is Outcome.MEASURED)
    race = meter.race(problem, good, _RACE) if good else None
    if race is not None:
        store.add_race(race)
    today = store.by_protocol(meter.protocol)
    now = ranking(today, problem, meter.device.name, count=len(stored) + 1, today=meter.today)
    after = next((one for one in now if one.config in good and not one.stale), None)
    failed = tuple((config, _why(config, trials.get(config))) for config in ours if config not in good)
    return Verdict(problem, before, after, _change(before, after, failed), failed)


def _comparable(problem: Problem, meter: Meter, store: Store) -> Store:
    """What was read as the meter reads, for a busy device and a rested one differ by more than a regression; all that
    is stored where nothing was."""
    alike = store.by_protocol(meter.protocol)
    return alike if ranking(alike, problem, meter.device.name, count=1) else store


def _try_again(problem: Problem, meter: Meter, store: Store, configs: list[Config]) -> dict[Config, Trial]:
    space = meter.space(problem)
    library = meter.library(problem)
    for config in ([] if library is None else [library]) + [config for config in configs if config in space]:
        meter.submit(problem, config)
    trials: dict[Config, Trial] = {}
    while ended := meter.collect():
        for trial in ended:
            store.add(trial)
            trials[trial.config] = trial
    return trials


def _why(config: Config, trial: Trial | None) -> str:
    if trial is None:
        return "it is not in today's space"
    return f"{trial.outcome}: {trial.reason}"


def _change(before: Ranked, after: Ranked | None, failed: tuple[tuple[Config, str], ...]) -> Change:
    winner_failed = any(config == before.config for config, _ in failed)
    if after is None:
        return Change.BROKEN
    if before.protocol == after.protocol and _is_slower(before, after):
        return Change.BROKEN if winner_failed else Change.SLOWER
    return Change.KEPT if after.config == before.config else Change.REPLACED


def _is_slower(before: Ranked, after: Ranked) -> bool:
    """By the ratio to the library where both have one, for clocks differ between days; else by the time."""
    if before.ratio is not None and after.ratio is not None:
        return after.ratio.median < (1 - SLOWER) * before.ratio.median
    return after.median_us > before.median_us / (1 - SLOWER)
