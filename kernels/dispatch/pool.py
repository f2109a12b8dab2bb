"""Scratch memory of the kernels that are called, by device and stream."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Final
from weakref import ref

import torch

from ..device import Device
from ..scratch import Scratch

ARENA: Final = 1 << 18  # counters kept for captured launches: 1 MiB


@dataclass(frozen=True, slots=True, eq=False)
class Lent:
    """Addresses of scratch memory, and the tensors that hold it."""

    partials: int
    counters: int
    held: tuple[torch.Tensor, torch.Tensor]

    @classmethod
    def of(cls, partials: torch.Tensor, counters: torch.Tensor) -> Lent:
        return cls(partials.data_ptr(), counters.data_ptr(), (partials, counters))


class Known(dict[int, Lent]):
    """raw stream -> what was lent for it to launches of one form; a class, for a bare dict takes no weak reference."""


class Pool:
    """The scratch memory of one device: a set a stream, for launches of one stream run one after another.

    What is launched into a CUDA graph gets memory of its own, for a graph may be replayed on any stream: partial tiles
    from the graph's pool, counters from zeros that were laid aside before, as long as there are any.
    """

    def __init__(self, index: int) -> None:
        self._index = index
        self._of_stream: dict[int, Scratch] = {}
        self._lenders: list[ref[Known]] = []
        self._arena = torch.zeros(ARENA, dtype=torch.int32, device=f"cuda:{index}")
        self._taken = 0
        self._lock = Lock()
        torch.cuda.current_stream(index).synchronize()  # the zeros are there before another stream counts on them

    def take(self, stream: int, partials: int, counters: int, known: Known) -> Lent:
        """Called with `stream` current. The caller keeps what it is lent until it has launched.

        What may be used again goes into `known`, and out of every one when a larger need takes its place.
        """
        if torch.cuda.is_current_stream_capturing():
            tiles = torch.empty(partials, dtype=torch.float32, device=f"cuda:{self._index}")
            return Lent.of(tiles, self._zeros(counters))
        scratch = self._of_stream.get(stream)
        if scratch is None:
            scratch = self._of_stream.setdefault(stream, Scratch(f"cuda:{self._index}"))
        found = Lent.of(scratch.partials(partials), scratch.counters(counters))
        self._recall(stream, found)
        known[stream] = found
        return found

    def lend(self) -> Known:
        """What `take` may keep loans in: they are called in when they are outgrown."""
        made = Known()
        self._lenders.append(ref(made, self._lenders.remove))
        return made

    def _recall(self, stream: int, newest: Lent) -> None:
        """Lets go of smaller memory of a stream, or it would be held as long as what it was lent to."""
        for each in tuple(self._lenders):
            known = each()
            one = known.get(stream) if known is not None else None
            if (
                known is not None
                and one is not None
                and (one.partials, one.counters) != (newest.partials, newest.counters)
            ):
                known.pop(stream, None)

    def _zeros(self, count: int) -> torch.Tensor:
        with self._lock:  # two threads that capture at once
            first = self._taken
            if first + count > ARENA:
                return torch.zeros(count, dtype=torch.int32, device=f"cuda:{self._index}")
            self._taken = first + count
        return self._arena[first : first + count]


@dataclass(frozen=True, slots=True)
class Place:
    """Where calls are served: a GPU, its number in this process, and its scratch memory."""

    index: int
    device: Device
    pool: Pool


@cache
def pool_of(index: int) -> Pool:
    """The one of a device, for as long as the process: captured graphs count on its memory, whatever table serves."""
    return Pool(index)
