"""Small spaces for the tests: drawn at random, or with times that have structure."""

from __future__ import annotations

import itertools
import math

from hypothesis import strategies as st

from tilewright.kernels.config import AxisValue, Config
from tilewright.kernels.space import Axis, ConfigSpace, merge_axes
from tilewright.tuner.landscape import Landscape, Reading
from tilewright.tuner.trial import Outcome


@st.composite
def spaces(draw: st.DrawFn, most: int = 40) -> ConfigSpace:
    """A space of one to three families, each with axes of its own, some of them shared, and holes in it."""
    axes: list[Axis] = []
    configs: list[Config] = []
    for family in draw(st.sampled_from((("a",), ("a", "b"), ("a", "b", "c")))):
        names = draw(st.lists(st.sampled_from(("m", "n", "warps", "order")), unique=True, max_size=3))
        own = [_axis(draw, name) for name in names]
        product = [
            Config.of(family, dict(zip(names, values, strict=True)))
            for values in itertools.product(*(axis.values for axis in own))
        ]
        configs += draw(st.lists(st.sampled_from(product), unique=True, max_size=most))
        axes += own
    return ConfigSpace(merge_axes(axes), configs)


def _axis(draw: st.DrawFn, name: str) -> Axis:
    values: tuple[AxisValue, ...] = ("row", "column", "swizzled") if name == "order" else (1, 2, 4, 8, 16)
    chosen = draw(st.lists(st.sampled_from(values), unique=True, min_size=1))
    return Axis(name, tuple(value for value in values if value in chosen), ordinal=name != "order")


def bowl() -> ConfigSpace:
    """1,008 configs of two families that share an axis and have one each of their own."""
    m = Axis("m", (16, 32, 64, 128, 256, 512))
    n = Axis("n", (16, 32, 64, 128, 256, 512))
    warps = Axis("warps", (1, 2, 4, 8))
    split = Axis("split", (1, 2, 4, 8))
    order = Axis("order", ("row", "column", "swizzled"), ordinal=False)
    plain = (Config.of("plain", m=a, n=b, warps=c, order=d) for a, b, c, d in _product(m, n, warps, order))
    other = (Config.of("split", m=a, n=b, warps=c, split=d) for a, b, c, d in _product(m, n, warps, split))
    return ConfigSpace((m, n, warps, order, split), itertools.chain(plain, other))


def _product(*axes: Axis) -> itertools.product[tuple[AxisValue, ...]]:
    return itertools.product(*(axis.values for axis in axes))


def bowl_us(config: Config) -> float | None:
    """The time of a config of `bowl`: best at plain(m=128, n=64, warps=4, order=swizzled); the largest tiles fail."""
    m, n, warps = (math.log2(config.number(axis)) for axis in ("m", "n", "warps"))
    if m + n >= 17:
        return None
    away = abs(m - 7) + abs(n - 6) * 0.8 + abs(warps - 2) * 0.6
    if config.family == "split":
        return 100 * math.pow(1.25, away + 1 + 0.3 * math.log2(config.number("split")))
    return 100 * math.pow(1.25, away + {"row": 0.5, "column": 0.9, "swizzled": 0.0}[str(config["order"])])


def bowl_landscape() -> Landscape:
    """`bowl` as if it had been recorded, with a spread of 1%."""
    readings: dict[Config, Reading] = {}
    for config in bowl():
        time_us = bowl_us(config)
        failed = Reading(None, 0.0, Outcome.OUT_OF_RESOURCES)
        readings[config] = failed if time_us is None else Reading(time_us, time_us / 100)
    return Landscape.of("bowl", readings)
