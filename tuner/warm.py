"""What is worth trying first, by what is stored: winners of stale toolchains, of near problems, of other devices."""

from __future__ import annotations

from itertools import chain
from typing import Final

from ..kernels.config import Config
from ..kernels.problem import Problem
from .evaluate import Meter
from .store import Store
from .store.query import near_problems
from .store.ranking import ranking

STALE: Final = 4
NEAR_PROBLEMS: Final = 3
NEAR: Final = 3
OTHER_DEVICES: Final = 3
OTHER: Final = 4


def warm_starts(problem: Problem, device: str, store: Store) -> tuple[Config, ...]:
    """The best stored configs for `problem` on a device by name, whatever toolchain found them; then those of near
    problems; then those of other devices. The best first, libraries left out, each once.
    """
    others = [one.name for one in store.devices() if one.name != device][:OTHER_DEVICES]
    near = near_problems(store, problem)[:NEAR_PROBLEMS]
    found = chain(
        _best(store, problem, device, STALE),
        *(_best(store, one, device, NEAR) for one in near),
        *(_best(store, problem, name, OTHER) for name in others),
    )
    return tuple(dict.fromkeys(found))


def stored_best(problem: Problem, meter: Meter, store: Store) -> tuple[Config, ...]:
    """The best stored configs for `problem` on the meter's device, a library among them, the best first: of the meter's
    protocol if it was tuned by that, else of any."""
    for read in (store.by_protocol(meter.protocol), store):
        found = ranking(read, problem, meter.device.name, count=OTHER, today=meter.today)
        if found:
            return tuple(one.config for one in found)
    return ()


def _best(store: Store, problem: Problem, device: str, count: int) -> list[Config]:
    ranked = ranking(store, problem, device, count=count + 1)
    return [one.config for one in ranked if one.config.items_by_axis][:count]
