"""A config: one point of a family's space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

AxisValue = int | str


@dataclass(frozen=True, slots=True, order=True)
class Config(Mapping[str, AxisValue]):
    """One point of a space: a family and a value for each of its axes. Immutable, hashable, ordered by text.

    Attributes:
        family: the name of the kernel family.
        items_by_axis: (axis, value), sorted by axis, so that equal points are equal values.
    """

    family: str
    items_by_axis: tuple[tuple[str, AxisValue], ...] = ()

    @classmethod
    def of(cls, family: str, axes: Mapping[str, AxisValue] | None = None, /, **more: AxisValue) -> Config:
        return cls(family, tuple(sorted({**(axes or {}), **more}.items())))

    def __getitem__(self, axis: str) -> AxisValue:
        for name, value in self.items_by_axis:
            if name == axis:
                return value
        raise KeyError(f"{self.family} has no axis {axis!r} in this config; it has {', '.join(self)}")

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.items_by_axis)

    def __len__(self) -> int:
        return len(self.items_by_axis)

    def number(self, axis: str) -> int:
        """The value of an ordinal axis, as the integer that it must be."""
        value = self[axis]
        if not isinstance(value, int):
            raise TypeError(f"axis {axis!r} of {self} holds {value!r}, not a whole number")
        return value

    def replace(self, **changes: AxisValue) -> Config:
        return Config.of(self.family, {**dict(self.items_by_axis), **changes})

    def __str__(self) -> str:
        if not self.items_by_axis:
            return self.family
        return f"{self.family}({', '.join(f'{name}={value}' for name, value in self.items_by_axis)})"
