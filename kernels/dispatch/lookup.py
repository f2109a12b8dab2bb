"""The look-up: which config serves a problem, and why. Exact, else near, else the library. Never tunes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from ..config import Config
from ..problem import Problem
from .table import Standing, Table

SURE: Final = 1.0  # the least that the interval of a winner's speed beside the library may reach down to
GAIN: Final = 1.02  # what a config that was tuned for another m must be ahead by, as predicted
UNSEEN: Final = 0.05  # counted for a neighbour on which a config was not measured
REACH: Final = 2.0  # an m beyond those tuned is served up to so many times as large, or as small


class Miss(StrEnum):
    """What serves a problem that was not tuned."""

    LIBRARY = "library"
    NEAREST = "nearest"
    ERROR = "error"


class Origin(StrEnum):
    """Where an answer comes from."""

    EXACT = "exact"
    NEAR = "near"
    LIBRARY = "library"


class NotTunedError(LookupError):
    """A problem that was not tuned, under the miss policy `error`."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What serves a problem.

    Attributes:
        config: of a kernel; None is the library.
        why: a sentence.
        standing, measured: what was measured of the config, and on which problem.
        speed: how many times as fast as the library, measured or predicted; 1 for the library.
        loss: a bound on what is lost against the best config, as a fraction; estimated from measured neighbours.
    """

    origin: Origin
    why: str
    config: Config | None = None
    standing: Standing | None = None
    measured: Problem | None = None
    speed: float = 1.0
    loss: float = 0.0


def lookup(table: Table | None, problem: Problem, miss: str = Miss.NEAREST) -> Choice:
    """What serves `problem`.

    Raises:
        NotTunedError: it was not tuned, and the policy is `error`.
    """
    row = table.winners.get(problem) if table else None
    if row:
        return _exact(problem, row)
    if miss == Miss.ERROR:
        raise NotTunedError(
            f"{problem} is not tuned: run `tilewright tune {problem.m}x{problem.n}x{problem.k} {problem.options}` "
            "and export, or set the miss policy to library or nearest"
        )
    if table is None:
        return Choice(Origin.LIBRARY, "no table is in use for this device")
    if miss == Miss.LIBRARY:
        return Choice(Origin.LIBRARY, f"{problem} is not tuned, and the miss policy is library")
    return _near(table, problem)


def speed_of(standing: Standing, row: tuple[Standing, ...]) -> float | None:
    """How many times as fast as the library a config ran: paired where that was measured. None: no library was."""
    if standing.is_library:
        return 1.0
    if standing.ratio is not None:
        return standing.ratio.median
    library = next((one for one in row if one.is_library), None)
    return library.median_us / standing.median_us if library else None


def neighbours(table: Table, problem: Problem) -> list[Problem]:
    """Tuned problems that differ from `problem` in m alone, by m."""
    found = (one for one in table.winners if replace(one, m=problem.m) == problem)
    return sorted(found, key=lambda one: one.m)


def _exact(problem: Problem, row: tuple[Standing, ...]) -> Choice:
    best = row[0]
    if best.is_library:
        return Choice(Origin.LIBRARY, f"{best.config} won on {problem}", standing=best, measured=problem)
    speed = speed_of(best, row)
    if speed is None:
        return Choice(Origin.LIBRARY, f"{best.config} leads on {problem}, but was never timed beside the library")
    low = best.ratio.low if best.ratio else speed
    if speed <= 1 or low < SURE:
        why = f"{best.config} leads on {problem} by {speed:.3f}, from {low:.3f}: not surely ahead of the library"
        return Choice(Origin.LIBRARY, why, standing=best, measured=problem)
    return Choice(Origin.EXACT, f"tuned for {problem}", best.config, best, problem, speed)


def _near(table: Table, problem: Problem) -> Choice:
    """The config of a neighbour in m that is predicted to be ahead of the library with the least loss."""
    tuned = neighbours(table, problem)
    bracket = [*[one for one in tuned if one.m < problem.m][-1:], *[one for one in tuned if one.m > problem.m][:1]]
    leaders = [(one, next((each for each in table.winners[one] if not each.is_library), None)) for one in bracket]
    found = [_predicted(table, problem, one, leader, bracket) for one, leader in leaders if leader is not None]
    near = sorted((choice for choice in found if choice is not None), key=lambda choice: (choice.loss, -choice.speed))
    ahead = [choice for choice in near if choice.speed >= GAIN]
    if ahead:
        return ahead[0]
    if not bracket:
        beside = f", {problem.epilogue}" if problem.epilogue else ""
        return Choice(Origin.LIBRARY, f"nothing is tuned of n={problem.n}, k={problem.k}, {problem.dtype}{beside}")
    measured = " and ".join(f"m={one.m}" for one in bracket)
    if not near:
        return Choice(Origin.LIBRARY, f"m={problem.m} lies too far from what is tuned, {measured}")
    why = (
        f"by {measured} a kernel is predicted at {near[0].speed:.3f} of the library: less than the {GAIN} it must have"
    )
    return Choice(Origin.LIBRARY, why)


def _predicted(
    table: Table, problem: Problem, of: Problem, leader: Standing, bracket: Sequence[Problem]
) -> Choice | None:
    """What `leader`, best of `of`, is worth at the m of `problem`; None when the two are too far apart.

    Its speed beside the library is the least of those measured on both sides, less the rows that its last tile
    multiplies for nothing. What was not measured of it on the other side counts as UNSEEN.
    """
    rows = leader.config.get("block_m", 1)
    if not isinstance(rows, int) or not (_reaches(problem, of) or _tiles(problem, rows) == _tiles(of, rows)):
        return None
    speeds, losses = [], [0.0]
    for one in (one for one in bracket if one == of or _reaches(problem, one)):
        row = table.winners[one]
        here = next((each for each in row if each.config == leader.config), None)
        speed = speed_of(here, row) if here is not None else None
        best = max((speed_of(each, row) or 0.0 for each in row), default=0.0)
        if speed:
            speeds.append(speed)
            losses.append(best / speed - 1)
        else:
            losses.append(UNSEEN)
    if not speeds:
        return None
    waste = _wasted(problem, of, rows)
    loss = max(losses) + waste
    why = f"tuned for m={of.m}, at m={problem.m} predicted to lose at most {loss:.1%} against the best"
    return Choice(Origin.NEAR, why, leader.config, leader, of, min(speeds) * (1 - waste) - _unseen(losses), loss)


def _unseen(losses: Sequence[float]) -> float:
    return UNSEEN if UNSEEN in losses else 0.0


def _reaches(problem: Problem, other: Problem) -> bool:
    low, high = sorted((max(problem.m, 1), max(other.m, 1)))
    return high <= REACH * low


def _tiles(problem: Problem, rows: int) -> int:
    return -(-problem.m // rows)


def _wasted(problem: Problem, of: Problem, rows: int) -> float:
    """The part of the work that is lost beyond what `of` loses too. One row of tiles takes its time however full."""
    if _tiles(problem, rows) <= 1:
        return 0.0
    full, full_there = (one.m / (_tiles(one, rows) * rows) for one in (problem, of))
    return max(0.0, 1 - full / full_there)
