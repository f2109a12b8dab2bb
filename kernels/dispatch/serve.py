"""A plan that runs: a compiled kernel, loaded, with all that never changes between two calls of one form laid out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from triton.errors import TritonError

from ..access import VECTOR_BYTES
from ..families import FAMILIES
from ..family import Call
from ..launch import Bound, NotDirect, Run, direct
from ..scratch import Scratch
from .lookup import Choice
from .plan import NotServed, Serve

if TYPE_CHECKING:
    from .engine import Engine, Wanted


def serve(engine: Engine, wanted: Wanted, choice: Choice) -> Serve:
    """What computes calls of the form of `wanted` with the config that was chosen. Never called during a capture.

    Raises:
        NotServed: the kernel does not take these operands.
    """
    with torch.cuda.device(engine.index):
        run = _run(engine, wanted, choice)
        return _served(engine, wanted, run)


def _run(engine: Engine, wanted: Wanted, choice: Choice) -> Run:
    problem, config = wanted.problem, choice.config
    if problem is None or config is None:
        raise NotServed(wanted.refusal or choice.why)
    family = FAMILIES[config.family]
    # A space keeps out what cannot win on a problem, too: a tile for more rows than there are is right all the same.
    space = family.space(choice.measured or problem, engine.device)
    if config not in space:
        raise NotServed(str(space.rejection(config)))
    d = torch.empty((problem.m, problem.n), dtype=wanted.a.dtype, device=wanted.a.device)
    call = Call(problem, engine.device, wanted.a, wanted.b, d, Scratch(wanted.a.device))
    if reason := family.refuses(call, config):
        raise NotServed(reason)
    try:
        launch = family.bind(call, config)
    except TritonError as error:
        raise NotServed(f"it does not compile: {error}") from error
    if not isinstance(launch, Bound):
        raise NotServed(f"family {family.name} does not tell how it is launched")
    named = launch.named
    scratch = (named["partials"].numel(), named["counters"].numel()) if "partials" in named else None
    try:
        return direct(launch, (lambda stream: engine.pool.take(stream, *scratch)) if scratch else None)
    except (NotDirect, TritonError) as error:
        raise NotServed(str(error)) from error


def _served(engine: Engine, wanted: Wanted, run: Run) -> Serve:
    index = engine.index
    # Of the right shape without the memory: an empty tensor like it is had in half the time that torch.empty takes.
    like = torch.empty((), dtype=wanted.a.dtype, device=wanted.a.device).expand(wanted.shape)
    empty_like = torch.empty_like
    current_stream = torch._C._cuda_getCurrentRawStream
    misaligned = VECTOR_BYTES - 1

    def serve(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor | None) -> torch.Tensor | None:
        at_a, at_b = a.data_ptr(), b.data_ptr()
        if (at_a | at_b) & misaligned:
            return None
        if d is None:
            d = empty_like(like)
        run(at_a, at_b, d.data_ptr(), current_stream(index))
        return d

    if torch.cuda.device_count() == 1:
        return serve

    def serve_there(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor | None) -> torch.Tensor | None:
        if torch.cuda.current_device() == index:
            return serve(a, b, d)
        with torch.cuda.device(index):
            return serve(a, b, d)

    return serve_there
