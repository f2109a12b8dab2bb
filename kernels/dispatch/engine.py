"""What serves calls on one device: its table, its scratch memory, and the plans made of both."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final
from weakref import ref

import torch

from ..access import VECTOR_BYTES, Access, Accesses
from ..device import Device
from ..operands import current_device
from ..problem import DTYPES, Problem
from ..scratch import Scratch
from .find import Found, find
from .lookup import Choice, Origin, lookup
from .plan import DTYPE_NAMES, NotServed, Plan, Settings, tf32_allowed

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
        first = self._taken
        if first + count > ARENA:
            return torch.zeros(count, dtype=torch.int32, device=f"cuda:{self._index}")
        self._taken = first + count
        return self._arena[first : first + count]


@cache
def pool_of(index: int) -> Pool:
    """The one of a device, for as long as the process: captured graphs count on its memory, whatever table serves."""
    return Pool(index)


class Engine:
    """Serves one GPU. Built outside of any capture."""

    def __init__(self, index: int, settings: Settings) -> None:
        from .toolchain import toolchain

        self.index = index
        self.settings = settings
        self.device: Device = current_device(index)
        self.found: Found = find(self.device, settings.named, None if settings.trust else toolchain())
        self.pool = pool_of(index)

    def choose(self, problem: Problem) -> Choice:
        return lookup(self.found.table, problem, self.settings.miss)

    def plan(self, wanted: Wanted) -> Plan:
        """How `wanted` is served; compiles and loads its kernel.

        Raises:
            NotTunedError: it was not tuned, and the miss policy is `error`.
        """
        if not wanted.problem:
            return Plan(Choice(Origin.LIBRARY, wanted.refusal), None)
        choice = self.choose(wanted.problem)
        if choice.config is None:
            return Plan(choice, None)
        from .serve import serve

        try:
            return Plan(choice, serve(self, wanted, choice))
        except NotServed as reason:
            return Plan(Choice(Origin.LIBRARY, f"{choice.config} cannot take it: {reason}"), None)

    def plan_with_bias(self, wanted: Wanted) -> Plan:
        """How `wanted` and the addition of a dense bias of its dtype are served: by what was tuned with a bias.

        The winner of the plain product is no guess: with a bias the library chooses among other kernels of its own. On
        an H200 (2026-11) winners at 1.01 to 1.09 of the library without one stood at 0.957 to 1.093 with one, in
        another run (results/nvidia-h200/dispatch-bias.json).
        """
        if not wanted.problem:
            return Plan(Choice(Origin.LIBRARY, wanted.refusal), None)
        choice = self.choose(replace(wanted.problem, epilogue="bias"))
        if choice.config is None:
            return Plan(choice, None)
        from .serve import serve_with_bias

        try:
            return Plan(choice, serve_with_bias(self, wanted, choice))
        except NotServed as reason:
            return Plan(Choice(Origin.LIBRARY, f"{choice.config} cannot take it with a bias: {reason}"), None)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One call as a kernel sees it: A[m, k], B[k, n], and the shape that D is to have.

    Attributes:
        problem: None when no kernel takes such operands; `refusal` then says why.
    """

    a: torch.Tensor
    b: torch.Tensor
    shape: tuple[int, ...]
    problem: Problem | None
    refusal: str = ""
    accesses: Accesses | None = field(default=None)


def wanted_of(a: torch.Tensor, b: torch.Tensor) -> Wanted:
    """What `a @ b` asks for: `a` of one dimension or more, `b` a matrix."""
    shape = (*a.shape[:-1], *b.shape[-1:])

    def refused(why: str) -> Wanted:
        return Wanted(a, b, shape, None, why)

    if a.dim() < 2 or b.dim() != 2 or a.shape[-1] != b.shape[0]:
        return refused(f"A is {list(a.shape)} and B is {list(b.shape)}: a kernel takes [..., m, k] and [k, n]")
    if a.dtype != b.dtype or a.dtype not in DTYPE_NAMES:
        return refused(f"the dtypes are {a.dtype} and {b.dtype}: kernels take one of bf16, fp16, fp32 for both")
    if a.device != b.device:
        return refused(f"A is on {a.device} and B on {b.device}")
    if not a.numel() or not b.numel():
        return refused("it is an empty product")
    rows = a if a.dim() == 2 else _rows(a)
    if rows is None:
        return refused(f"A has strides {a.stride()}: its rows do not lie one after another")
    problem = _problem(rows, b)
    if problem is None:
        return refused(f"the strides are {rows.stride()} and {b.stride()}: neither rows nor columns lie dense")
    size = DTYPES[problem.dtype].bytes
    d = Access.at((problem.m, problem.n), (problem.n, 1), size, address=0)
    found = Accesses(Access.of(rows), Access.of(b), d)
    if found != Accesses.dense(problem):
        return refused(f"address or strides are not multiples of {VECTOR_BYTES} bytes, as they were when it was tuned")
    return Wanted(rows, b, shape, problem, accesses=found)


def _rows(a: torch.Tensor) -> torch.Tensor | None:
    """A[..., k] as a matrix of its rows, when that is a view."""
    return a.view(-1, a.shape[-1]) if a.is_contiguous() else None


def _problem(a: torch.Tensor, b: torch.Tensor) -> Problem | None:
    letters = [_letter(matrix) for matrix in (a, b)]
    if None in letters:
        return None
    dtype = DTYPE_NAMES[a.dtype]
    if dtype == "fp32" and tf32_allowed():
        dtype = "tf32"
    return Problem(a.shape[0], b.shape[1], a.shape[1], dtype, f"{letters[0]}{letters[1]}")


def _letter(matrix: torch.Tensor) -> str | None:
    """`n` for rows that lie dense, `t` for columns; a single row is `n`, whatever stride it has to a next."""
    rows, columns = matrix.stride()
    if columns == 1 and (rows >= matrix.shape[1] or matrix.shape[0] == 1):
        return "n"
    return "t" if rows == 1 and columns >= matrix.shape[0] else None
