"""What the store costs from a thousand trials to a million: an insert, `best`, and the trials of a problem.

    python -P benchmarks/store.py --trials 1000000

Trials are like those of an exhaustive tuning on an H200: 1,500 configs a problem, seven paired readings each, and one
in ten a failure. Inserts are durable, one transaction each, as a tuner makes them; between the sizes the store is
filled in batches.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from tilewright.kernels.config import Config
from tilewright.kernels.device import nominal
from tilewright.kernels.problem import Problem
from tilewright.tuner.store import Store, TrialQuery, open_store
from tilewright.tuner.store.query import best
from tilewright.tuner.trial import Check, Environment, Lane, Measurement, Outcome, Race, Resources, Trial

CONFIGS = 1_500
READINGS = 7
BATCH = 6_000
SAMPLES = 200
DEVICE = nominal("sm90")
ENVIRONMENT = Environment("3.7.1", "2.13.0", "13.0", "580.1", "3.11.7", "0123456789abcdef")
STARTED = datetime(2026, 1, 1, tzinfo=UTC)
CUBLAS = Config.of("cublas")


def problem(number: int) -> Problem:
    return Problem(1 + number % 64, 1024 * (1 + number // 64), 4096)


def config(number: int) -> Config:
    axes = {"block_m": 16 << number % 5, "block_n": 32 << number // 5 % 4, "num_stages": 2 + number // 20 % 4}
    return Config.of("tiled", block_k=64, group_m=8, num_warps=4, tile=number, **axes)


def trial(number: int, chance: random.Random) -> Trial:
    where, which = problem(number // CONFIGS), number % CONFIGS
    library_us = 10.0 + where.flops / 7e8
    time_us = library_us * chance.uniform(0.9, 4.0)
    failed = which % 10 == 3
    times, beside = ([base * chance.gauss(1, 0.01) for _ in range(READINGS)] for base in (time_us, library_us))
    return Trial(
        where,
        DEVICE,
        config(which),
        ENVIRONMENT,
        Outcome.COMPILE_FAILED if failed else Outcome.MEASURED,
        STARTED + timedelta(milliseconds=number),
        "ptxas: out of registers" if failed else "",
        checks=() if failed else (Check(chance.random(), 1.0, 3, 5, 1.25, 1.26, where.key),),
        measurement=None if failed else Measurement(tuple(times), "graph", tuple(beside), sm_clock_mhz=1980),
        resources=Resources(168, 0, 98304, 0.4),
    )


def race(number: int) -> Race:
    """The finalists of a problem against cuBLAS, a hundred rounds."""
    chance = random.Random(number)
    lanes = [
        Lane(one, ENVIRONMENT, tuple(chance.gauss(100, 1) for _ in range(100)))
        for one in (CUBLAS, *map(config, range(6)))
    ]
    return Race(problem(number), DEVICE, "race", CUBLAS, tuple(lanes), STARTED + timedelta(days=1, seconds=number))


def fill(store: Store, start: int, end: int) -> None:
    """Adds the trials of these numbers, and a race once a problem is full."""
    chance = random.Random(start)
    for first in range(start, end, BATCH):
        numbers = range(first, min(first + BATCH, end))
        raced = [race(number // CONFIGS) for number in numbers if number % CONFIGS == CONFIGS - 1]
        store.add_all([trial(number, chance) for number in numbers], raced)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one kind of call took, in milliseconds: by the clock, and of this process's own time."""

    trials: int
    what: str
    wall_ms: list[float]
    own_ms: list[float]

    def row(self) -> str:
        cells = [
            f"{statistics.median(ms):.2f} | {sorted(ms)[int(0.99 * len(ms))]:.2f}" for ms in (self.wall_ms, self.own_ms)
        ]
        return f"| {self.trials:,} | {self.what} | {' | '.join(cells)} |"


def cost(trials: int, what: str, calls: Iterable[Callable[[], object]]) -> Cost:
    wall, own = [], []
    for call in calls:
        begun, begun_own = time.perf_counter(), time.process_time()
        call()
        wall.append((time.perf_counter() - begun) * 1e3)
        own.append((time.process_time() - begun_own) * 1e3)
    return Cost(trials, what, wall, own)


def costs(where: str, sizes: list[int]) -> Iterator[Cost]:
    chance = random.Random(1)
    filled = 0
    for size in sizes:
        with open_store(where) as store:
            fill(store, filled, size - SAMPLES)
            fresh = [trial(number, chance) for number in range(size - SAMPLES, size)]
            yield cost(size, "insert", [partial(store.add, one) for one in fresh])
        filled = size
        asked = [problem(chance.randrange(max(size // CONFIGS, 1))) for _ in range(SAMPLES // 2)]
        with open_store(where, readonly=True) as store:
            yield cost(size, "best", [partial(best, store, one) for one in asked])
            yield cost(size, "trials of a problem", [partial(store.trials, TrialQuery(problem=one)) for one in asked])


def main() -> None:
    parser = argparse.ArgumentParser(description="What the store costs as it grows.")
    parser.add_argument("--trials", type=int, default=1_000_000, help="the largest size")
    parser.add_argument("--store", help="an address of an empty store; a file that is removed again if not given")
    arguments = parser.parse_args()
    sizes = [size for size in (1_000, 10_000, 100_000, 1_000_000) if size < arguments.trials] + [arguments.trials]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        print("| trials | what | median ms | 99% ms | its own median ms | 99% ms |")
        print("| ---: | --- | ---: | ---: | ---: | ---: |")
        for one in costs(arguments.store or str(path), sizes):
            print(one.row(), flush=True)
        if path.exists():
            print(f"\n{path.stat().st_size / sizes[-1]:.0f} bytes a trial")


if __name__ == "__main__":
    main()
