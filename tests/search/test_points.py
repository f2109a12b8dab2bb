"""A space as a matrix: every config has a number, and every number its config."""

from __future__ import annotations

from hypothesis import given

from tilewright.kernels.config import Config
from tilewright.kernels.space import Axis, ConfigSpace
from tilewright.tuner.search.points import Points

from .spaces import bowl, spaces


@given(spaces())
def test_configs_and_numbers_are_one_to_one(space: ConfigSpace) -> None:
    points = Points(space)
    assert [points.config(index) for index in range(len(points))] == list(space)
    assert [points.index(config) for config in space] == list(range(len(space)))
    assert [points.at_params(points.params(index)) for index in range(len(points))] == list(range(len(space)))


@given(spaces())
def test_neighbours_are_those_of_the_space(space: ConfigSpace) -> None:
    points = Points(space)
    for index, config in enumerate(space):
        near = {points.config(other) for other in points.neighbours(index)}
        assert near >= set(space.neighbours(config))
        assert all(_mismatches(config, other) == 1 for other in near)


def _mismatches(left: Config, right: Config) -> int:
    assert left.family == right.family
    return sum(left.get(axis) != right.get(axis) for axis in {*left, *right})


def test_what_the_space_does_not_hold_has_no_number() -> None:
    points = Points(bowl())
    inside = points.config(5)
    assert points.index(inside) == 5
    for outside in (Config.of("none", inside), inside.replace(m=17), inside.replace(k=1), Config(inside.family)):
        assert points.index(outside) is None
    assert points.at_params({"family": 0}) is None


def test_an_axis_may_be_called_family() -> None:
    space = ConfigSpace((Axis("family", (1, 2)),), [Config.of("a", {"family": value}) for value in (1, 2)])
    assert [Points(space).config(index) for index in (0, 1)] == list(space)
