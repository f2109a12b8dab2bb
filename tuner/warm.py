"""What is worth trying first, by what is stored: winners of stale toolchains, of near problems, of other devices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from ..kernels.config import Config
from ..kernels.families import by_guess, guess_us
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
# Of 1,274 readings on sixty layers of a Llama (H100, 2026-11) it leaves out a quarter of those that were slower than
# the best by more than 3%, and none of the others.
FAR_SLOWER: Final = 1.5
AHEAD: Final = 400  # configs of a problem that are compiled before anybody asks for them


def warm_starts(problem: Problem, meter: Meter, store: Store) -> tuple[Config, ...]:
    """The best stored configs for `problem` on the meter's device, whatever toolchain found them; then those of near
    problems, but what the guess holds far slower here; then those of other devices. The best first, libraries left out,
    each once.
    """
    device = meter.device.name
    others = [one.name for one in store.devices() if one.name != device][:OTHER_DEVICES]
    near = near_problems(store, problem)[:NEAR_PROBLEMS]
    found = chain(
        _best(store, problem, device, STALE),
        _hopeful(chain(*(_best(store, one, device, NEAR) for one in near)), problem, meter),
        *(_best(store, problem, name, OTHER) for name in others),
    )
    return tuple(dict.fromkeys(found))


def likely(problem: Problem, meter: Meter, store: Store) -> Iterator[Config]:
    """What a search of `problem` is likely to come by, to be compiled ahead: what is tried first, then what an analytic
    guess holds fastest. Found out when it is iterated, for not every meter compiles."""
    space = meter.space(problem)
    first = (*warm_starts(problem, meter, store), *meter.defaults(problem))
    yield from (config for config in first if config in space)
    yield from by_guess(space, problem, meter.device)[:AHEAD]


def _hopeful(configs: Iterable[Config], problem: Problem, meter: Meter) -> Iterator[Config]:
    """The valid ones, without what the guess holds `FAR_SLOWER` than its best: a tile for 16 rows is none for 128."""
    space, guesses = meter.space(problem), by_guess(meter.defaults(problem), problem, meter.device)
    most = FAR_SLOWER * guess_us(problem, meter.device, guesses[0]) if guesses else math.inf
    for config in configs:
        if config not in space:  # as of a family of an earlier version, of which a guess knows nothing
            continue
        if not by_guess([config], problem, meter.device) or guess_us(problem, meter.device, config) <= most:
            yield config


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
