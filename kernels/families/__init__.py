"""The kernel families: one file each, listed in `FAMILIES`."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Final

from ..config import Config
from ..device import Device
from ..family import Family, source_hash
from ..problem import Problem
from ..space import ConfigSpace, union
from . import cpu_blas, cublas, descriptor, split_k, swapped, tiled
from .absent import absent
from .estimate import guess_us as guess_us

try:
    from . import clustered, half_by_half, mixed_tiles, shared_tiles, swapped_tiles, warp_specialized

    _GLUON: tuple[Family, ...] = tuple(
        one.FAMILY for one in (warp_specialized, mixed_tiles, swapped_tiles, shared_tiles, half_by_half, clustered)
    )
except ImportError as error:  # Gluon is experimental: another Triton may have it elsewhere
    _WHY = f"this Triton has no Gluon for Hopper as 3.6 and 3.7 have it: {error}"
    _NAMES = ("warp_specialized", "mixed_tiles", "swapped_tiles", "shared_tiles", "half_by_half", "clustered")
    _GLUON = tuple(absent(name, _WHY) for name in _NAMES)

_TRITON = (tiled.FAMILY, descriptor.FAMILY, split_k.FAMILY, swapped.FAMILY)
FAMILIES: Final = MappingProxyType({one.name: one for one in (*_TRITON, *_GLUON, cublas.FAMILY, cpu_blas.FAMILY)})


def family(name: str) -> Family:
    """The family of that name: one of `FAMILIES`, or somebody else's as `package.module:NAME`.

    Raises:
        ValueError: there is none.
    """
    if name in FAMILIES:
        return FAMILIES[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        known = ", ".join(FAMILIES)
        raise ValueError(
            f"family {name!r} is not known: use one of {known}, or package.module:NAME for one of your own"
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:  # the last two: no name, a relative one
        raise ValueError(f"family {name!r} cannot be imported ({error}): write package.module:NAME") from None
    if not isinstance(found, Family) or found.name != name:
        raise ValueError(f"{name!r} is no family of that name: make it a tilewright.kernels.family.Family named so")
    return found


@cache
def kernel_hash(name: str) -> str:
    """Of a family's sources; empty of one that is not known, as an earlier version's that a store still names."""
    try:
        return source_hash(family(name).sources)
    except ValueError:
        return ""


def is_deterministic(problem: Problem, config: Config) -> bool:
    """Whether a config computes the same bits in every run, as its family says; False of a family that is not known."""
    try:
        return family(config.family).deterministic(problem, config)
    except ValueError:
        return False


@lru_cache(maxsize=16)  # a tuning asks for a problem's several times, and a tenth of a second goes into each
def space(problem: Problem, device: Device, names: tuple[str, ...] = ()) -> ConfigSpace:
    """The valid configs of the named families (all by default) for a problem on a device: one space to search."""
    chosen = [family(name) for name in names] if names else list(FAMILIES.values())
    return union(one.space(problem, device) for one in chosen)


def by_guess(configs: Iterable[Config], problem: Problem, device: Device) -> list[Config]:
    """The tiled configs among these, those first that an analytic guess holds fastest. None whose axes are no numbers,
    as somebody else's landscape may have them."""
    tiled_ones = [config for config in configs if set(_BLOCKS) <= set(config) and _in_numbers(config)]
    return sorted(tiled_ones, key=lambda config: guess_us(problem, device, config))


_BLOCKS: Final = ("block_m", "block_n", "block_k")
_COUNTS: Final = (*_BLOCKS, "split", "group_m", "group_n", "num_stages", "num_warps")


def _in_numbers(config: Config) -> bool:
    values = [config.get(axis, 1) for axis in _COUNTS]
    return all(isinstance(value, int) and value > 0 for value in values)


def _tile(config: Config) -> tuple[object, ...]:
    return (config.family, *(config.get(axis) for axis in (*_BLOCKS, "split")))


@lru_cache(maxsize=16)  # for a problem whose kernels are compiled ahead, and again when it is searched
def first_guesses(problem: Problem, device: Device, names: tuple[str, ...] = (), count: int = 6) -> tuple[Config, ...]:
    """Configs to try first: each family's defaults and the `count` that an analytic guess holds fastest, in its order,
    so that a search that ends early has seen the most hopeful; before all others those that it says nothing of.

    Of those that share a tile (blocks and split) only the first is among them, so that they are different tiles; what
    differs from a default in other axes alone does not count.
    """
    chosen = [family(name) for name in names or FAMILIES if not family(name).is_library]
    valid = space(problem, device, tuple(one.name for one in chosen)) if chosen else ()
    defaults = [config for one in chosen for config in one.defaults(problem, device) if config in valid]
    of_defaults, found = {_tile(config) for config in defaults}, dict[tuple[object, ...], Config]()
    for config in by_guess(valid, problem, device):
        if len(found.keys() - of_defaults) < count:
            found.setdefault(_tile(config), config)
    first = dict.fromkeys((*defaults, *found.values()))
    ordered = by_guess(first, problem, device)
    return (*(config for config in first if config not in ordered), *ordered)
