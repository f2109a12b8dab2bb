"""What got slower, or broke, between two toolchains, from what the store holds of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ...kernels.problem import Problem
from ...kernels.stale import TOOLCHAIN
from ..trial import Environment, Outcome
from .protocol import Store, StoreError, TrialQuery
from .ranking import Origin, Ranked, ranking

PAIRED_MARGIN: Final = 0.01
# Times read apart differ by the clocks alone: cuBLAS bf16 8192^3 on an H200 read 1376 us cool and 1570 us warm.
APART_MARGIN: Final = 0.15

Side = Callable[[Environment], bool]


class Verdict(StrEnum):
    """What became of a problem's best config."""

    BROKEN = "broken"
    SLOWER = "slower"
    SAME = "same"
    FASTER = "faster"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Change:
    """One problem on one device under two toolchains.

    Attributes:
        device: by name.
        verdict: BROKEN when the winner of before failed since, whatever else is fast now; MISSING when nothing was
            measured since.
        before, after: the winners.
        gain: the speed after over the speed before; above 1 is faster. None when there is no after.
        paired: whether both speeds are paired ratios to the same library. If not they are times that were read apart,
            and only a difference beyond the drift of the clocks is one.
        reason: why the former winner failed.
    """

    problem: Problem
    device: str
    verdict: Verdict
    before: Ranked
    after: Ranked | None
    gain: float | None
    paired: bool
    reason: str = ""

    @property
    def regressed(self) -> bool:
        return self.verdict in (Verdict.BROKEN, Verdict.SLOWER)


def regressions(store: Store, before: Side, after: Side, device: str | None = None) -> list[Change]:
    """Every problem that was measured under the toolchains of `before`, and what it is under those of `after`; what
    regressed most comes first."""
    names = sorted({one.name for one in store.devices()}) if device is None else [device]
    found = [
        change
        for problem in store.problems()
        for name in names
        if (change := _change(store, problem, name, before, after)) is not None
    ]
    order = list(Verdict)
    return sorted(found, key=lambda change: (order.index(change.verdict), change.gain or 0.0, change.problem))


def sides(store: Store, before: Side | None, after: Side | None) -> tuple[Side, Side]:
    """Both sides: one that is not given is all that the other is not. When neither is, the toolchain of the newest
    trial is `after`.

    Raises:
        StoreError: neither is given, and there is no trial.
    """
    if after is None:
        after = _negated(before) if before is not None else _newest(store)
    return before if before is not None else _negated(after), after


def _newest(store: Store) -> Side:
    newest = store.trials(TrialQuery(limit=1))
    if not newest:
        raise StoreError(f"{store.name} holds no trial: tune first, or import a tuning pack")
    return side_of(**{name: getattr(newest[0].environment, name) for name in TOOLCHAIN})


def _negated(side: Side) -> Side:
    return lambda environment: not side(environment)


def side_of(**fields: str) -> Side:
    """The environments whose fields have these values, as `side_of(triton="3.6.0")`."""
    return lambda environment: all(getattr(environment, name) == value for name, value in fields.items())


def check_side(store: Store, fields: Mapping[str, str]) -> None:
    """
    Raises:
        StoreError: nothing in the store is of such a toolchain.
    """
    known = store.environments()
    if any(map(side_of(**fields), known)) or not fields:
        return
    held = sorted({_named({name: getattr(environment, name) for name in fields}) for environment in known})
    raise StoreError(f"{store.name} has no result of {_named(fields)}: name one of {'; '.join(held) or 'none, yet'}")


def _named(fields: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in fields.items())


def _change(store: Store, problem: Problem, device: str, before: Side, after: Side) -> Change | None:
    was = next(iter(ranking(store, problem, device, count=1, among=before)), None)
    if was is None:
        return None
    now = next(iter(ranking(store, problem, device, count=1, among=after)), None)
    reason = _failure(store, was, after)
    if now is None:
        verdict = Verdict.MISSING if reason is None else Verdict.BROKEN
        return Change(problem, device, verdict, was, None, None, False, reason or "")
    gain, paired = _gain(was, now)
    verdict = _judged(was, now, gain, paired) if reason is None else Verdict.BROKEN
    return Change(problem, device, verdict, was, now, gain, paired, reason or "")


def _gain(was: Ranked, now: Ranked) -> tuple[float, bool]:
    """The speed now over the speed before, and whether it is free of the clocks' drift. Of a library against itself a
    ratio says nothing."""
    libraries = was.origin is now.origin is Origin.LIBRARY
    if was.ratio is None or now.ratio is None or was.reference != now.reference or libraries:
        return was.median_us / now.median_us, False
    return now.ratio.median / was.ratio.median, True


def _judged(was: Ranked, now: Ranked, gain: float, paired: bool) -> Verdict:
    margin = PAIRED_MARGIN if paired else APART_MARGIN
    if 1 / (1 + margin) <= gain <= 1 + margin:
        return Verdict.SAME
    if paired and was.ratio and now.ratio and was.ratio.low <= now.ratio.high and now.ratio.low <= was.ratio.high:
        return Verdict.SAME  # the intervals overlap
    return Verdict.FASTER if gain > 1 else Verdict.SLOWER


def _failure(store: Store, was: Ranked, after: Side) -> str | None:
    """Why the former winner failed when it was last tried under `after`; None when it did not."""
    query = TrialQuery(was.problem, was.device.name, config=was.config)
    tried = [trial for trial in store.trials(query) if after(trial.environment)]
    if not tried or tried[-1].outcome is Outcome.MEASURED:
        return None
    return f"{tried[-1].outcome.value}: {tried[-1].reason}" if tried[-1].reason else tried[-1].outcome.value
