"""A space as a matrix of small integers, so that a million configs are searched in tens of megabytes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from ...kernels.config import AxisValue, Config
from ...kernels.space import Axis, Space

FAMILY: Final = "family"
ABSENT: Final = -1  # the level of an axis that a config does not have

_CHUNK: Final = 1 << 12  # configs that exist at a time


class Points:
    """The valid configs of a space, numbered from 0: row i holds the level of config i on each axis.

    Column 0 is the family, the others are the axes of the space in order. A level is the place of a value among the
    axis's values, `ABSENT` where the config has no such axis. The configs themselves are made when asked for.

    Attributes:
        axes: the family as a categorical axis, then the axes of the space.
        levels: [configs, axes], int16.
    """

    def __init__(self, space: Space) -> None:
        families: dict[AxisValue, int] = {}
        place = {axis.name: column for column, axis in enumerate(space.axes, start=1)}
        levels = {axis.name: {value: level for level, value in enumerate(axis.values)} for axis in space.axes}
        chunks = []
        configs = iter(space)
        while chunk := list(itertools.islice(configs, _CHUNK)):
            rows = np.full((len(chunk), len(place) + 1), ABSENT, dtype=np.int16)
            for row, config in zip(rows, chunk, strict=True):
                row[0] = families.setdefault(config.family, len(families))
                for axis, value in config.items_by_axis:
                    row[place[axis]] = levels[axis][value]
            chunks.append(rows)
        self.levels = np.concatenate(chunks) if chunks else np.empty((0, len(place) + 1), dtype=np.int16)
        self.axes = (Axis(FAMILY, tuple(families), ordinal=False), *space.axes)
        self._levels: list[Mapping[AxisValue, int]] = [families, *(levels[axis.name] for axis in space.axes)]
        self._place = place
        self._held = [self._levels_of(family) for family in range(len(families))]
        # A random odd multiplier an axis makes a 64-bit hash of a row; a lookup compares the row that it finds.
        multipliers = np.random.default_rng(0).integers(1, 1 << 62, size=len(self.axes), dtype=np.uint64)
        self._multipliers = multipliers * np.uint64(2) + np.uint64(1)
        hashes = self._hashes(self.levels)
        self._order = np.argsort(hashes, kind="stable")
        self._sorted = hashes[self._order]

    def __len__(self) -> int:
        return len(self.levels)

    def distributions(self) -> dict[str, BaseDistribution]:
        """The search space as Optuna knows it: one parameter a column, whose value is the level."""
        return {
            self._parameter(column): self._distribution(column, int(self.levels[:, column].min(initial=0)))
            for column in range(len(self.axes))
        }

    def params(self, index: int) -> dict[str, int]:
        """Optuna's parameters of config `index`."""
        return {self._parameter(column): int(level) for column, level in enumerate(self.levels[index])}

    def at_params(self, params: Mapping[str, Any]) -> int | None:
        """The config that Optuna's parameters stand for; None when they are incomplete or stand for none."""
        try:
            row = [params[self._parameter(column)] for column in range(len(self.axes))]
        except KeyError:
            return None
        return self.find(np.array([row], dtype=np.int16))[0]

    def config(self, index: int) -> Config:
        row = self.levels[index]
        values = {
            axis.name: axis.values[level]
            for axis, level in zip(self.axes[1:], row[1:].tolist(), strict=True)
            if level != ABSENT
        }
        return Config.of(str(self.axes[0].values[row[0]]), values)

    def index(self, config: Config) -> int | None:
        """The number of `config`; None when the space does not hold it."""
        row = np.full((1, len(self.axes)), ABSENT, dtype=np.int16)
        for column, value in ((0, config.family), *((self._place.get(axis), value) for axis, value in config.items())):
            level = None if column is None else self._levels[column].get(value)
            if level is None:
                return None
            row[0, column] = level
        return self.find(row)[0]

    def _levels_of(self, family: int) -> list[NDArray[np.intp]]:
        """Of each axis, in order, the levels that the family's configs have."""
        rows = self.levels[self.levels[:, 0] == family]
        return [np.flatnonzero(np.bincount(rows[:, column] + 1)) - 1 for column in range(len(self.axes))]

    def find(self, rows: NDArray[np.int16]) -> list[int | None]:
        """The number of each row of levels; None where the space does not hold it."""
        if not len(self):
            return [None] * len(rows)
        spots = np.minimum(np.searchsorted(self._sorted, self._hashes(rows)), len(self) - 1)
        found = self._order[spots]
        same = (self.levels[found] == rows).all(axis=1)
        return [int(index) if held else None for index, held in zip(found, same, strict=True)]

    def neighbours(self, index: int) -> list[int]:
        """The configs one step away on one axis: the next level of an ordinal one, any other of a categorical one.

        Levels are those that the family has: a value of another one alone does not stand between two of its own.
        """
        row = self.levels[index]
        held = self._held[row[0]]
        rows = []
        for column, axis in enumerate(self.axes[1:], start=1):
            if row[column] == ABSENT:
                continue
            own = held[column]
            at = int(np.searchsorted(own, row[column]))
            for level in (*own[max(at - 1, 0) : at], *own[at + 1 : at + 2]) if axis.ordinal else own:
                near = row.copy()
                near[column] = level
                rows.append(near)
        found = self.find(np.array(rows, dtype=np.int16)) if rows else []
        return [near for near in found if near is not None and near != index]

    def differing(self, left: NDArray[np.intp], right: NDArray[np.intp]) -> NDArray[np.float64]:
        """On how many axes two configs differ, the family counted as one: [left, right]."""
        count = np.zeros((len(left), len(right)))
        for column in range(len(self.axes)):
            levels = self.levels[:, column]
            count += levels[left][:, None] != levels[right][None, :]
        return count

    def distance(self, row: NDArray[np.int16], open_indices: NDArray[np.intp]) -> NDArray[np.float64]:
        """How far each of `open_indices` lies from a row of levels: steps on ordinal axes as a share of their length,
        1 for each other mismatch; another family is farther than anything of the same one."""
        distance = np.zeros(len(open_indices))
        for column, axis in enumerate(self.axes):
            levels = np.arange(-1, len(axis.values))  # ABSENT first, so that level + 1 is the place
            cost = (levels != row[column]).astype(float) * (len(self.axes) if column == 0 else 1)
            if axis.ordinal and row[column] != ABSENT:
                cost[1:] = np.abs(levels[1:] - row[column]) / max(len(axis.values) - 1, 1)
            distance += cost[self.levels[open_indices, column] + 1]
        return distance

    def _hashes(self, rows: NDArray[np.int16]) -> NDArray[np.uint64]:
        total = np.zeros(len(rows), dtype=np.uint64)
        for column, multiplier in enumerate(self._multipliers):
            total += (rows[:, column] + np.int16(1)).astype(np.uint64) * multiplier
        return total

    def _parameter(self, column: int) -> str:
        # A prefix, so that an axis may be called "family".
        return FAMILY if column == 0 else f"axis.{self.axes[column].name}"

    def _distribution(self, column: int, low: int) -> BaseDistribution:
        high = max(len(self.axes[column].values) - 1, 0)  # an empty space has no family
        if self.axes[column].ordinal:
            return IntDistribution(low, high)
        return CategoricalDistribution(range(low, high + 1))
