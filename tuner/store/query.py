"""The best config for a problem, from what the store holds, and where the answer comes from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from ...kernels.config import Config
from ...kernels.problem import Problem
from ...kernels.stale import Today
from ..trial import Outcome, Race, Trial
from .protocol import Store, StoreError, TrialQuery
from .ranking import Origin, Ranked, ranking

__all__ = [
    "Answer",
    "NotStoredError",
    "Origin",
    "Ranked",
    "best",
    "best_of_all",
    "check_device",
    "distance",
    "latest_device",
    "near_problems",
    "only_device",
]

NEIGHBOURS: Final = 8  # near problems that are tried for an answer
MAX_DISTANCE: Final = 4.0  # in doublings, all extents together; beyond it the best tile is another one


class NotStoredError(StoreError):
    """Nothing is stored that answers."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The best config for a problem, and those that come next."""

    problem: Problem
    winner: Ranked
    runners_up: tuple[Ranked, ...]

    @property
    def origin(self) -> Origin:
        return self.winner.origin


def best(
    store: Store,
    problem: Problem,
    *,
    device: str | None = None,
    environment: Today = None,
    near: bool = True,
    runners_up: int = 5,
    deterministic: bool = False,
) -> Answer:
    """The best config for `problem`.

    It is the first of the `ranking`; where the problem itself has no result, that of the nearest problem that has one.

    Args:
        store: where the results are.
        problem: what is to be computed.
        device: by name; None means the one on which the problem was measured last.
        environment: today's, one or one a family; without it nothing is known to be stale.
        near: whether another problem may answer.
        runners_up: at most so many after the winner.
        deterministic: whether only configs answer that compute the same bits in every run.

    Raises:
        NotStoredError: there is no result for it, or for anything near.
    """
    only = _deterministic() if deterministic else None
    for candidate in _candidates(store, problem, near):
        where = device or latest_device(store, candidate)
        found = ranking(store, candidate, where, count=1 + runners_up, today=environment, only=only) if where else []
        if found:
            first, *rest = found if candidate == problem else [_as_near(result) for result in found]
            return Answer(problem, first, tuple(rest))
    on = f" on {device}" if device else ""
    what, how = ("deterministic result", " --deterministic") if deterministic else ("result", "")
    raise NotStoredError(
        f"{store.name} has no {what} for {problem}{on}{' or near it' if near else ''}: tune it first, with "
        f"`tilewright tune {problem.m}x{problem.n}x{problem.k} {problem.options}{how}`"
    )


def _deterministic() -> Callable[[Problem, Config], bool]:
    from ...kernels.families import is_deterministic  # here: it loads Triton, and most questions do without

    return is_deterministic


def best_of_all(
    store: Store,
    problems: Sequence[Problem] = (),
    *,
    device: str | None = None,
    runners_up: int = 5,
    deterministic: bool = False,
) -> list[Answer]:
    """The best configs for each of these problems that has results of its own; for all stored ones if none is named.

    Raises:
        NotStoredError: none of them has any.
    """
    answers = []
    for problem in problems or store.problems():
        with suppress(NotStoredError):
            found = best(store, problem, device=device, near=False, runners_up=runners_up, deterministic=deterministic)
            answers.append(found)
    if not answers:
        raise NotStoredError(f"{store.name} has no result for what was asked: tune first, as with `tilewright tune`")
    return answers


def check_device(store: Store, name: str | None) -> None:
    """
    Raises:
        StoreError: a device is named of which the store holds nothing.
    """
    held = sorted({device.name for device in store.devices()})
    if name is not None and name not in held:
        raise StoreError(f"{store.name} has nothing of a device {name!r}: name one of {', '.join(held) or 'none, yet'}")


def only_device(store: Store) -> str:
    """The name of the one device that a store has results of.

    Raises:
        StoreError: there is none, or there are several.
    """
    names = sorted({device.name for device in store.devices()})
    if len(names) != 1:
        held = f"results of {', '.join(names)}: name one of these devices" if names else "no result: tune first"
        raise StoreError(f"{store.name} holds {held}")
    return names[0]


def _candidates(store: Store, problem: Problem, near: bool) -> Iterator[Problem]:
    """The problem itself, and only then those near it, which takes a look at all that are stored."""
    yield problem
    if near:
        yield from near_problems(store, problem)[:NEIGHBOURS]


def near_problems(store: Store, problem: Problem) -> list[Problem]:
    """Stored problems that differ from `problem` in extents only, and by little, the nearest first: those of the same
    n and k (another batch for the same weight) before all others."""
    alike = (
        other
        for other in store.problems()
        if other != problem
        and dataclasses.replace(other, m=problem.m, n=problem.n, k=problem.k) == problem
        and distance(problem, other) <= MAX_DISTANCE
    )
    weight = problem.n, problem.k
    return sorted(alike, key=lambda other: ((other.n, other.k) != weight, distance(problem, other), other))


def distance(one: Problem, other: Problem) -> float:
    """How far apart two problems are, in doublings of m, n and k."""
    pairs = zip(one.shape, other.shape, strict=True)
    return sum(abs(math.log2(max(a, 1) / max(b, 1))) for a, b in pairs)


def latest_device(store: Store, problem: Problem) -> str | None:
    """The name of the device that measured a problem last; None when none did."""
    trials = store.trials(TrialQuery(problem=problem, outcome=Outcome.MEASURED, limit=1))
    latest: list[Trial | Race] = [*trials, *store.races(problem, limit=1)]
    return max(latest, key=lambda result: result.started_at).device.name if latest else None


def _as_near(result: Ranked) -> Ranked:
    return dataclasses.replace(result, origin=Origin.NEAR)
