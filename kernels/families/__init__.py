"""The kernel families: one file each, listed in `FAMILIES`."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from ..device import Device
from ..family import Family
from ..problem import Problem
from ..space import ConfigSpace, union
from . import cpu_blas, cublas, descriptor, split_k, tiled

FAMILIES: Final = MappingProxyType(
    {
        "tiled": tiled.FAMILY,
        "descriptor": descriptor.FAMILY,
        "split_k": split_k.FAMILY,
        "cublas": cublas.FAMILY,
        "cpu_blas": cpu_blas.FAMILY,
    }
)


def family(name: str) -> Family:
    """The family of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in FAMILIES:
        raise ValueError(f"family {name!r} is not known: use one of {', '.join(FAMILIES)}")
    return FAMILIES[name]


def space(problem: Problem, device: Device, names: tuple[str, ...] = ()) -> ConfigSpace:
    """The valid configs of the named families (all by default) for a problem on a device: one space to search."""
    chosen = [family(name) for name in names] if names else list(FAMILIES.values())
    return union(one.space(problem, device) for one in chosen)
