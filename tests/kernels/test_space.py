"""Spaces: which configs are valid, why another is not, and what lies next to one."""

from __future__ import annotations

import pytest

from tilewright.kernels.config import Config
from tilewright.kernels.device import Device, nominal
from tilewright.kernels.problem import Problem
from tilewright.kernels.space import Axis, ConfigSpace, Constraint, SearchSpace, Space, merge_axes, union
from tilewright.tuner.search.points import Points

PROBLEM = Problem(64, 64, 64)
AXES = (Axis("block", (16, 32, 64, 128)), Axis("stages", (1, 2, 3)), Axis("order", ("rows", "columns", "tiles"), False))
SHARED_MEMORY = Constraint(
    "shared_memory",
    "bytes",
    lambda problem, device, config: 1024 * config.number("block") * config.number("stages"),
    lambda problem, device, config: device.shared_memory_bytes,
    "CUDA C++ Programming Guide",
)


@pytest.fixture
def space() -> SearchSpace:
    return SearchSpace("tiled", AXES, (SHARED_MEMORY,), problem=PROBLEM, device=nominal("sm80"))


def config(block: int, stages: int, order: str = "rows") -> Config:
    return Config.of("tiled", block=block, stages=stages, order=order)


def test_it_holds_the_product_less_what_is_rejected(space: SearchSpace) -> None:
    # 166,912 bytes hold 163 KiB: 128 x 2, 64 x 3 and 128 x 3 do not fit.
    assert len(space) == (4 * 3 - 3) * 3
    assert len(list(space.product())) == 4 * 3 * 3
    assert set(space) == {one for one in space.product() if one in space}
    assert list(space) == list(space)


def test_a_rejection_says_which_limit_is_passed_and_by_how_much(space: SearchSpace) -> None:
    rejection = space.rejection(config(128, 2))
    assert rejection is not None
    assert (rejection.constraint, rejection.amount, rejection.limit) == ("shared_memory", 262144, 166912)
    assert str(rejection) == (
        "shared_memory: 262144 bytes, 95232 over the limit of 166912 (CUDA C++ Programming Guide)"
    )
    assert space.rejection(config(64, 2)) is None


def test_the_limit_itself_is_kept() -> None:
    exact = Device("exact", "sm80", 1, 1024 * 16, 0, 0)
    space = SearchSpace("tiled", AXES, (SHARED_MEMORY,), problem=PROBLEM, device=exact)
    assert list(space) == [config(16, 1, order) for order in ("rows", "columns", "tiles")]


@pytest.mark.parametrize(
    "stranger",
    [
        Config.of("tiled", block=16),
        config(17, 1),
        Config.of("other", dict(config(16, 1))),
        config(16, 1).replace(more=1),
        "16",
    ],
)
def test_a_stranger_is_not_in_it(space: SearchSpace, stranger: object) -> None:
    assert stranger not in space
    if isinstance(stranger, Config):
        with pytest.raises(ValueError, match="is not a point of tiled: its axes are block, stages, order"):
            space.rejection(stranger)


def neighbours_of(space: Space, one: Config) -> set[Config]:
    near = space.neighbours(one)
    assert len(near) == len(set(near))
    return set(near)


def test_neighbours_are_one_step_away(space: SearchSpace) -> None:
    expected = {config(32, 1), config(16, 2), config(16, 1, "columns"), config(16, 1, "tiles")}
    assert neighbours_of(space, config(16, 1)) == expected
    # 128 x 2 would be a step from 64 x 2, as 64 x 3 would: neither is valid.
    assert neighbours_of(space, config(64, 2)) == {
        config(32, 2),
        config(64, 1),
        config(64, 2, "columns"),
        config(64, 2, "tiles"),
    }


def test_a_list_of_configs_is_a_space_of_its_own(space: SearchSpace) -> None:
    same = ConfigSpace(AXES, space)
    assert list(same) == list(space)
    assert all(neighbours_of(same, one) == neighbours_of(space, one) for one in space)
    assert len(ConfigSpace(AXES, [config(16, 1), config(16, 1)])) == 1


def test_a_union_keeps_the_families_apart(space: SearchSpace) -> None:
    other = SearchSpace(
        "split", (Axis("block", (8, 16)), Axis("split", (2, 4))), (), problem=PROBLEM, device=nominal("sm80")
    )
    library = SearchSpace("cublas", (), (), problem=PROBLEM, device=nominal("sm80"))
    both = union([space, other, library])
    assert len(both) == len(space) + len(other) + 1
    assert Config.of("cublas") in both
    assert both.neighbours(Config.of("cublas")) == []
    assert neighbours_of(both, Config.of("split", block=16, split=2)) == {
        Config.of("split", block=8, split=2),
        Config.of("split", block=16, split=4),
    }


def test_values_of_another_family_alone_are_no_step() -> None:
    """A family of tiles of any width would leave the others none beside: 80 and 96 stand between their 64 and 128."""
    wide = [Config.of("wide", block=block) for block in (64, 80, 96, 128)]
    doubled = [Config.of("doubled", block=block) for block in (64, 128, 256)]
    both = ConfigSpace((Axis("block", (64, 80, 96, 128, 256)),), wide + doubled)
    points = Points(both)
    for found in (
        {one: neighbours_of(both, one) for one in both},
        {one: {points.config(near) for near in points.neighbours(at)} for at, one in enumerate(both)},
    ):
        assert found[doubled[1]] == {doubled[0], doubled[2]}
        assert found[doubled[0]] == {doubled[1]}
        assert found[wide[3]] == {wide[2]}


def test_merged_axes_hold_the_values_of_all_in_order() -> None:
    merged = merge_axes([Axis("block", (16, 64)), Axis("order", ("rows",), False), Axis("block", (8, 32))])
    assert merged == (Axis("block", (8, 16, 32, 64)), Axis("order", ("rows",), False))


def test_an_unknown_arch_is_told() -> None:
    with pytest.raises(ValueError, match="arch 'sm75' is not known: use one of sm80, sm86, sm89, sm90, sm100, sm120"):
        nominal("sm75")
    assert nominal("SM_90").capability == 90
