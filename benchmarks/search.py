"""What an ask costs, in time and memory, by the size of the space.

    python -P benchmarks/search.py --configs 1000000 --sampler gp

The space is a product of twelve axes of ten values, cut off at the size; times have a smooth optimum and 1% of noise.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import statistics
import time
from collections.abc import Iterator

import numpy as np

from tilewright.kernels.config import Config
from tilewright.kernels.space import Axis
from tilewright.tuner.search import SAMPLERS, Search

AXES = tuple(Axis(f"axis_{column}", tuple(2**level for level in range(10))) for column in range(12))


class LazySpace:
    """The first so many points of a product of axes, made as they are iterated over and not kept."""

    axes = AXES

    def __init__(self, size: int) -> None:
        self._size = size

    def __iter__(self) -> Iterator[Config]:
        names = [axis.name for axis in AXES]
        # Reversed, so that the first axes vary fastest and all sizes have the same shape.
        products = itertools.product(*(axis.values for axis in reversed(AXES)))
        for values in itertools.islice(products, self._size):
            yield Config.of("lazy", dict(zip(reversed(names), values, strict=True)))

    def __len__(self) -> int:
        return self._size

    def __contains__(self, config: object) -> bool:
        return any(config == one for one in self)

    def neighbours(self, config: Config) -> list[Config]:
        return []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", type=int, default=1_000_000)
    parser.add_argument("--sampler", choices=tuple(SAMPLERS), default="gp")
    parser.add_argument("--trials", type=int, default=100)
    asked = parser.parse_args()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    search = Search(LazySpace(asked.configs), sampler=asked.sampler)
    enumerated = time.process_time() - start
    draws = np.random.default_rng(0)
    asks = []
    for _ in range(asked.trials):
        start = time.process_time()
        config = search.ask()
        asks.append(1e3 * (time.process_time() - start))
        if config is None:
            break
        away = sum(abs(config.number(axis.name).bit_length() - 5) for axis in AXES)
        search.tell(config, float(np.exp(away / 10 + draws.normal(0, 0.01))))
    mebibytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(
        f"{asked.sampler}, {asked.configs} configs of {len(AXES)} axes: enumerated in {enumerated:.1f} s, "
        f"an ask {statistics.median(asks):.1f} ms (median of {len(asks)}; longest {max(asks):.0f}), "
        f"{mebibytes:.0f} MiB beyond the imports; processor time, one thread"
    )


if __name__ == "__main__":
    main()
