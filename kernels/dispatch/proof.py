"""Two ways of running a model in turn, and whether one is surely the faster."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from ..result import Ratio
from .modules import Layer, switch

WARM_UP: Final = 3
LOOKS: Final = 4  # at most so many times the rounds, where fewer leave open which way is faster
MISSED: Final = 0.025  # of the intervals, on either side, may lie beside the true median: 95 in 100 hold it


@dataclass(frozen=True, slots=True)
class Duel:
    """Seconds of a run without and with layers on kernels, round by round, and how many times as fast these made it."""

    without: tuple[float, ...]
    with_them: tuple[float, ...]

    @property
    def ratio(self) -> Ratio:
        """The median over the rounds, between two order statistics, whatever the distribution. Source: Conover,
        Practical Nonparametric Statistics, 3rd edition, section 3.2."""
        ratios = sorted(one / other for one, other in zip(self.without, self.with_them, strict=True))
        rank = _rank(len(ratios))
        low, high = (ratios[rank - 1], ratios[-rank]) if rank else (0.0, math.inf)
        return Ratio(statistics.median(ratios), low, high)

    @property
    def is_open(self) -> bool:
        return self.ratio.low <= 1 <= self.ratio.high

    @property
    def pays(self) -> bool:
        """Surely: the whole interval lies above 1."""
        return self.ratio.low > 1


def _rank(count: int) -> int:
    """The largest r for which the r-th smallest and the r-th largest of `count` values hold their median surely enough;
    0 where even all of them do not."""
    below, rank = 0, 0
    while rank < count and (below + math.comb(count, rank)) / 2**count <= MISSED:
        below += math.comb(count, rank)
        rank += 1
    return rank


def switch_all(layers: Sequence[Layer], on: bool) -> None:
    for layer in layers:
        switch(layer.module, on)


def duel(run: Callable[[], Any], layers: Sequence[Layer], rounds: int, *, captured: bool) -> Duel:
    """Both ways in turn, the order reversed every other round, until it is settled or `LOOKS` times `rounds` are run.
    All layers are on kernels afterwards."""
    ways: dict[bool, Callable[[], Any]] = {}
    for on in (False, True):
        switch_all(layers, on)
        ways[on] = _captured(run) if captured else run
    read: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(-WARM_UP, LOOKS * rounds):
        for on in (False, True) if turn % 2 else (True, False):
            if not captured:
                switch_all(layers, on)
            taken = _seconds(ways[on])
            if turn >= 0:
                read[on].append(taken)
        found = Duel(tuple(read[False]), tuple(read[True]))
        if turn >= 0 and (turn + 1) % rounds == 0 and not found.is_open:
            break
    switch_all(layers, True)
    return found


def _captured(run: Callable[[], Any]) -> Callable[[], Any]:
    """What replays a run from a CUDA graph: its time is the GPU's, as in a server that captures."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    replay: Callable[[], Any] = graph.replay
    return replay


def _seconds(run: Callable[[], Any]) -> float:
    _synchronize()
    begun = time.perf_counter()
    run()
    _synchronize()
    return time.perf_counter() - begun


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
