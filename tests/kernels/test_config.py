"""Configs: immutable points with axes in no order of their own."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilewright.kernels.config import AxisValue, Config

axes = st.dictionaries(st.text("abcdef_", min_size=1), st.integers(-8, 512) | st.text("xyz"), max_size=6)


@given(axes)
def test_a_config_is_its_axes(values: dict[str, AxisValue]) -> None:
    config = Config.of("tiled", values)
    assert dict(config) == values
    assert len(config) == len(values)


@given(axes, st.randoms(use_true_random=False))
def test_the_order_of_the_axes_does_not_matter(values: dict[str, AxisValue], random: Random) -> None:
    shuffled = list(values.items())
    random.shuffle(shuffled)
    one, other = Config.of("tiled", values), Config.of("tiled", dict(shuffled))
    assert one == other
    assert hash(one) == hash(other)
    assert str(one) == str(other)


def test_equal_axes_of_another_family_are_another_config() -> None:
    assert Config.of("tiled", block_m=64) != Config.of("descriptor", block_m=64)


def test_a_replaced_axis_leaves_the_original() -> None:
    config = Config.of("tiled", block_m=64, block_n=128)
    assert config.replace(block_m=16) == Config.of("tiled", block_m=16, block_n=128)
    assert config["block_m"] == 64


def test_it_reads_as_a_call() -> None:
    assert str(Config.of("tiled", num_warps=4, block_m=64)) == "tiled(block_m=64, num_warps=4)"
    assert str(Config.of("cublas")) == "cublas"


def test_an_axis_that_it_has_not_is_told() -> None:
    with pytest.raises(KeyError, match=r"tiled has no axis 'split' in this config; it has block_m"):
        Config.of("tiled", block_m=64)["split"]


def test_a_number_is_not_read_off_a_word() -> None:
    config = Config.of("tiled", order="rows", block_m=64)
    assert config.number("block_m") == 64
    with pytest.raises(TypeError, match=r"axis 'order' of tiled\(.*\) holds 'rows', not a whole number"):
        config.number("order")
