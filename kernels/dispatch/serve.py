"""A plan that runs: a compiled kernel, loaded, with all that never changes between two calls of one form laid out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from triton.errors import TritonError

from ..access import VECTOR_BYTES
from ..families import FAMILIES
from ..family import Call
from ..launch import Bound, NotDirect, Run, direct
from ..scratch import Scratch
from .lookup import Choice
from .plan import NotServed, Serve
from .pool import Place, Pool
from .wanted import Wanted


def serve(place: Place, wanted: Wanted, choice: Choice) -> Serve:
    """What computes calls of the form of `wanted` with the config that was chosen. Never called during a capture.

    Raises:
        NotServed: the kernel does not take these operands.
    """
    with torch.cuda.device(place.index):
        return _there(place.index, _served(place, wanted, _run(place, wanted, choice, "")))


def serve_with_bias(place: Place, wanted: Wanted, choice: Choice) -> Serve:
    """The same of (A, B, bias): a kernel that adds it on the way out.

    Raises:
        NotServed: the kernel does not take these operands, or no bias.
    """
    with torch.cuda.device(place.index):
        return _there(place.index, _served_with_bias(place, wanted, _run(place, wanted, choice, "bias")))


def _run(place: Place, wanted: Wanted, choice: Choice, epilogue: str) -> Run:
    config = choice.config
    if wanted.problem is None or config is None:
        raise NotServed(wanted.refusal or choice.why)
    problem = replace(wanted.problem, epilogue=epilogue)
    family = FAMILIES[config.family]
    # A space keeps out what cannot win on a problem, too: a tile for more rows than there are is right all the same.
    space = family.space(replace(choice.measured or problem, epilogue=epilogue), place.device)
    if config not in space:
        raise NotServed(str(space.rejection(config)))
    d = torch.empty((problem.m, problem.n), dtype=wanted.a.dtype, device=wanted.a.device)
    bias = torch.empty(problem.n, dtype=d.dtype, device=d.device) if epilogue else None
    call = Call(problem, place.device, wanted.a, wanted.b, d, Scratch(d.device), bias=bias)
    if reason := family.refuses(call, config):
        raise NotServed(reason)
    try:
        launch = family.bind(call, config)
    except TritonError as error:
        raise NotServed(f"it does not compile: {error}") from error
    if not isinstance(launch, Bound):
        raise NotServed(f"family {family.name} does not tell how it is launched")
    named = launch.named
    try:
        run = direct(launch)
    except (NotDirect, TritonError) as error:
        raise NotServed(str(error)) from error
    if "partials" not in named:
        return run
    return _with_scratch(run, place.pool, named["partials"].numel(), named["counters"].numel())


def _with_scratch(run: Run, pool: Pool, partials: int, counters: int) -> Run:
    """`run` with the scratch memory of the stream that it is given, which is looked up once a stream."""
    known = pool.lend()
    capturing = torch._C._cuda_isCurrentStreamCapturing

    def run_there(a: int, b: int, d: int, *rest: int) -> None:
        stream = rest[-1]
        lent = known.get(stream)
        if lent is None or capturing():  # what is captured has memory of its own
            lent = pool.take(stream, partials, counters, known)
        run(a, b, d, lent.partials, lent.counters, *rest)  # `lent` keeps the memory until it is launched

    return run_there


def _served(place: Place, wanted: Wanted, run: Run) -> Serve:
    index = place.index
    new = _new(wanted)
    current_stream = torch._C._cuda_getCurrentRawStream
    misaligned = VECTOR_BYTES - 1

    def serve(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor | None = None) -> torch.Tensor | None:
        at_a, at_b = a.data_ptr(), b.data_ptr()
        if (at_a | at_b) & misaligned:
            return None
        if d is None:
            d = new()
        run(at_a, at_b, d.data_ptr(), current_stream(index))
        return d

    return serve


def _served_with_bias(place: Place, wanted: Wanted, run: Run) -> Serve:
    index = place.index
    new = _new(wanted)
    current_stream = torch._C._cuda_getCurrentRawStream
    misaligned = VECTOR_BYTES - 1

    def serve(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor) -> torch.Tensor | None:
        at_a, at_b = a.data_ptr(), b.data_ptr()
        if (at_a | at_b) & misaligned:
            return None
        d = new()
        run(at_a, at_b, d.data_ptr(), bias.data_ptr(), current_stream(index))
        return d

    return serve


def _there(index: int, serve: Serve) -> Serve:
    """`serve` on its device, whichever is current."""
    if torch.cuda.device_count() == 1:
        return serve

    def serve_there(a: torch.Tensor, b: torch.Tensor, *rest: torch.Tensor | None) -> torch.Tensor | None:
        if torch.cuda.current_device() == index:
            return serve(a, b, *rest)
        with torch.cuda.device(index):
            return serve(a, b, *rest)

    return serve_there


def _new(wanted: Wanted) -> Callable[[], torch.Tensor]:
    """What makes D, on the current device, in half the time of `torch.empty`: the allocation that Inductor's code uses,
    past the dispatcher, or `empty_like` of a tensor of the right shape without the memory."""
    like = torch.empty((), dtype=wanted.a.dtype, device=wanted.a.device).expand(wanted.shape)
    fast = getattr(torch._C._dynamo.guards, "_empty_strided_cuda", None)
    if fast is None:
        return partial(torch.empty_like, like)
    return partial(fast, tuple(like.shape), torch.empty_like(like, device="meta").stride(), like.dtype)
