"""Records the matrix products that a program really computes: how often each, and for how long."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ..problem import Problem

COLUMNS: Final = ("m", "n", "k", "dtype", "layout", "out_dtype", "epilogue", "calls", "us")
PENDING: Final = 2000  # timed calls on a GPU that are waited for at once


@dataclass(slots=True)
class Count:
    """Of one problem: calls, and us in all of them."""

    calls: int = 0
    us: float = 0.0


@dataclass(slots=True)
class Recording:
    """The problems of a program.

    Attributes:
        counts: by problem.
        others: products that no kernel takes, and why: how often.
    """

    counts: dict[Problem, Count] = field(default_factory=dict)
    others: dict[str, int] = field(default_factory=dict)

    def write(self, path: Path | str) -> None:
        """A CSV for `--shapes`, what took longest first."""
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(COLUMNS)
            for problem, count in sorted(self.counts.items(), key=lambda item: (-item[1].us, item[0])):
                what = (*problem.shape, problem.dtype, problem.layout, problem.out_dtype, problem.epilogue)
                rows.writerow((*what, count.calls, f"{count.us:.1f}"))


@contextmanager
def record(path: Path | str | None = None) -> Iterator[Recording]:
    """Records the products computed within, by torch or by Tilewright, eagerly; writes them to `path` at the end.

    Seen are `mm`, `matmul`, `linear` and `addmm` of this thread, whatever calls them. What `torch.compile` has compiled
    does not pass here, nor what torch computes as one: batched products, attention, the fast path that
    `nn.TransformerEncoder` has in eval mode. Record a model before it is compiled, and in training mode.

    Raises:
        ValueError: `path` cannot be written; found out before anything runs.
    """
    if path is not None:
        _check_writable(Path(path))
    recording = Recording()
    watch = _Watch(recording)
    try:
        with watch:
            yield recording
    finally:
        watch.settle()
        if path is not None:
            recording.write(path)


def _check_writable(path: Path) -> None:
    """
    Raises:
        ValueError: what is to be written at the end could not be.
    """
    folder = path.absolute().parent
    if os.path.isdir(path):  # of what may not be looked into, pathlib raises another error
        raise ValueError(f"{path} cannot be written: it is a folder: name a file in it")
    if not os.path.isdir(folder):
        raise ValueError(f"{path} cannot be written: there is no folder {folder}: make it, or name another")
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise ValueError(f"{path} cannot be written: you may not write there: name another file")


class _Watch(TorchDispatchMode):
    """Sees every operation below autograd."""

    def __init__(self, recording: Recording) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._recording = recording
        self._pending: list[tuple[Count, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        operands = _operands(func, args, named)
        if isinstance(operands, str):
            self._leave_out(operands)
        elif operands is not None and (count := self._count(*operands)) is not None:
            return self._timed(count, operands[0], lambda: func(*args, **named))
        return func(*args, **named)

    def _leave_out(self, why: str) -> None:
        self._recording.others[why] = self._recording.others.get(why, 0) + 1

    def _count(self, a: Tensor, b: Tensor, bias: Tensor | None) -> Count | None:
        from .wanted import wanted_of

        wanted = wanted_of(a, b)
        if wanted.problem is None:
            self._leave_out(wanted.refusal)
            return None
        adds = bias is not None and bias.shape == (wanted.problem.n,) and bias.dtype is a.dtype
        problem = replace(wanted.problem, epilogue="bias") if adds else wanted.problem
        count = self._recording.counts.setdefault(problem, Count())
        count.calls += 1
        return count

    def _timed(self, count: Count, a: Tensor, call: Any) -> Any:
        if not a.is_cuda:
            begun = time.perf_counter()
            result = call()
            count.us += (time.perf_counter() - begun) * 1e6
            return result
        if torch.cuda.is_current_stream_capturing():
            return call()
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        first.record()
        result = call()
        last.record()
        self._pending.append((count, first, last))
        if len(self._pending) >= PENDING:
            self.settle()
        return result

    def settle(self) -> None:
        """Waits for the timed calls and adds them up."""
        for count, first, last in self._pending:
            last.synchronize()
            count.us += first.elapsed_time(last) * 1e3
        self._pending.clear()


def _operands(
    func: Any, args: tuple[Any, ...], named: Mapping[str, Any]
) -> tuple[Tensor, Tensor, Tensor | None] | str | None:
    """A and B of a product, and its bias if it has one; why no kernel takes it; None for any other operation."""
    name = func._schema.name
    if name in ("aten::mm", "aten::matmul", "tilewright::matmul"):
        return args[0], args[1], None
    if name == "aten::addmm":
        plain = (named.get("beta", 1), named.get("alpha", 1)) == (1, 1)
        return (args[1], args[2], args[0]) if plain else "addmm with factors, alpha or beta"
    if name in ("aten::linear", "tilewright::linear"):
        return args[0], args[1].t(), args[2] if len(args) > 2 else None
    return None
