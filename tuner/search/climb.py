"""The sampler `climb`: hill climbing from the best of a few random starts. A yardstick."""

from __future__ import annotations

from typing import Final

import numpy as np

from .history import History
from .samplers import PointSampler

STARTS: Final = 10


class ClimbSampler(PointSampler):
    """The neighbours of the best config, one step on one axis; those of the next best when they are all tried."""

    def choose(self, history: History, rng: np.random.Generator) -> int:
        if len(history.tried) + len(history.pending) >= STARTS:
            log_us = np.array(history.log_us)
            for place in np.argsort(log_us, kind="stable"):
                if not np.isfinite(log_us[place]):
                    break
                near = [index for index in self.points.neighbours(history.tried[place]) if history.open[index]]
                if near:
                    return int(rng.choice(near))
        return int(rng.choice(np.flatnonzero(history.open)))
