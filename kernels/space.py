"""The space of configs that may be tried, and the reason why a config may not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

from .config import AxisValue, Config
from .device import Device
from .problem import Problem


@dataclass(frozen=True, slots=True)
class Axis:
    """One parameter and the values that it may take, in order when `ordinal`."""

    name: str
    values: tuple[AxisValue, ...]
    ordinal: bool = True


@dataclass(frozen=True, slots=True)
class Constraint:
    """A limit that a config must keep: `amount <= limit`.

    Attributes:
        name: what is limited, as in `shared_memory`.
        unit: of both numbers.
        amount, limit: of (problem, device, config). Both must be pure.
        source: where the limit comes from, for people.
    """

    name: str
    unit: str
    amount: Callable[[Problem, Device, Config], float]
    limit: Callable[[Problem, Device, Config], float]
    source: str

    def rejection(self, problem: Problem, device: Device, config: Config) -> Rejection | None:
        amount, limit = self.amount(problem, device, config), self.limit(problem, device, config)
        return Rejection(self.name, amount, limit, self.unit, self.source) if amount > limit else None


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a config may not be tried: which limit it passes and by how much."""

    constraint: str
    amount: float
    limit: float
    unit: str
    source: str

    def __str__(self) -> str:
        over = self.amount - self.limit
        return (
            f"{self.constraint}: {self.amount:g} {self.unit}, {over:g} over the limit of {self.limit:g} ({self.source})"
        )


class Space(Protocol):
    """What a search needs of a space. Iteration yields each valid config once, always in the same order.

    An implementer must not measure, compile or read a device here.
    """

    @property
    def axes(self) -> tuple[Axis, ...]: ...
    def __iter__(self) -> Iterator[Config]: ...
    def __len__(self) -> int: ...
    def __contains__(self, config: object) -> bool: ...
    def neighbours(self, config: Config) -> list[Config]: ...


class SearchSpace:
    """The valid configs of one family for one problem on one device: its axes' product less what constraints reject."""

    def __init__(
        self,
        family: str,
        axes: Sequence[Axis],
        constraints: Sequence[Constraint],
        *,
        problem: Problem,
        device: Device,
    ) -> None:
        self.family = family
        self.axes = tuple(axes)
        self.constraints = tuple(constraints)
        self.problem = problem
        self.device = device
        self._values = {axis.name: axis.values for axis in self.axes}

    def product(self) -> Iterator[Config]:
        """Every combination, valid or not."""
        names = [axis.name for axis in self.axes]
        by_name = sorted(range(len(names)), key=names.__getitem__)
        for values in itertools.product(*(axis.values for axis in self.axes)):
            yield Config(self.family, tuple([(names[at], values[at]) for at in by_name]))

    def rejection(self, config: Config) -> Rejection | None:
        """The first limit that `config` passes; None when it is valid.

        Raises:
            ValueError: `config` is not a point of the axes.
        """
        if not self._on_axes(config):
            raise ValueError(f"{config} is not a point of {self.family}: its axes are {', '.join(self._values)}")
        for constraint in self.constraints:
            found = constraint.rejection(self.problem, self.device, config)
            if found is not None:
                return found
        return None

    def _keeps_all(self, config: Config) -> bool:
        """Whether a point of the axes is valid; of thousands, no rejection is written."""
        given = self.problem, self.device, config
        return all(one.amount(*given) <= one.limit(*given) for one in self.constraints)

    @cached_property
    def _valid(self) -> tuple[Config, ...]:
        return tuple(config for config in self.product() if self._keeps_all(config))

    def __iter__(self) -> Iterator[Config]:
        return iter(self._valid)

    def __len__(self) -> int:
        return len(self._valid)

    def __contains__(self, config: object) -> bool:
        return isinstance(config, Config) and self._on_axes(config) and self._keeps_all(config)

    def neighbours(self, config: Config) -> list[Config]:
        """Valid configs one step away: the next value of one ordinal axis, any other of a categorical one."""
        return [near for near in _steps(config, self.axes) if near in self]

    def _on_axes(self, config: Config) -> bool:
        return (
            config.family == self.family
            and len(config) == len(self.axes)
            and all(config.get(name) in values for name, values in self._values.items())
        )


class ConfigSpace:
    """A space given by its valid configs, of one family or of several: a union, or what a landscape holds."""

    def __init__(self, axes: Sequence[Axis], configs: Iterable[Config]) -> None:
        self.axes = tuple(axes)
        self._configs = tuple(dict.fromkeys(configs))
        self._known = frozenset(self._configs)

    def __iter__(self) -> Iterator[Config]:
        return iter(self._configs)

    def __len__(self) -> int:
        return len(self._configs)

    def __contains__(self, config: object) -> bool:
        return config in self._known

    def neighbours(self, config: Config) -> list[Config]:
        """Valid configs one step away on one axis, within the family; see `SearchSpace.neighbours`."""
        return [near for near in _steps(config, self._own.get(config.family, ())) if near in self._known]

    @cached_property
    def _own(self) -> dict[str, tuple[Axis, ...]]:
        """Family -> the axes with the values that its configs have: between two of these, another's are no step."""
        held: dict[str, set[tuple[str, AxisValue]]] = {}
        for config in self._configs:
            held.setdefault(config.family, set()).update(config.items_by_axis)
        return {
            family: tuple(
                replace(axis, values=tuple(v for v in axis.values if (axis.name, v) in its)) for axis in self.axes
            )
            for family, its in held.items()
        }


def union(spaces: Iterable[Space]) -> ConfigSpace:
    """One space of several families. An axis that several of them have holds the values of all."""
    parts = list(spaces)
    return ConfigSpace(merge_axes(axis for part in parts for axis in part.axes), itertools.chain.from_iterable(parts))


def merge_axes(axes: Iterable[Axis]) -> tuple[Axis, ...]:
    merged: dict[str, Axis] = {}
    for axis in axes:
        known = merged.get(axis.name, Axis(axis.name, (), axis.ordinal))
        values = tuple(dict.fromkeys((*known.values, *axis.values)))
        ordinal = known.ordinal and axis.ordinal
        merged[axis.name] = Axis(axis.name, tuple(sorted(values)) if ordinal else values, ordinal)
    return tuple(merged.values())


def _steps(config: Config, axes: Iterable[Axis]) -> Iterator[Config]:
    present: Mapping[str, AxisValue] = config
    for axis in axes:
        if present.get(axis.name) not in axis.values:
            continue
        at = axis.values.index(present[axis.name])
        others = axis.values[max(at - 1, 0) : at] + axis.values[at + 1 : at + 2] if axis.ordinal else axis.values
        for value in others:
            if value != present[axis.name]:
                yield config.replace(**{axis.name: value})
