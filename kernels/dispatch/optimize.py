"""`optimize`: a model's linear layers on tuned kernels, and the proof in the model itself that this pays."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from .direct import plan_of
from .modules import Layer, Linear, Report, replace, switch

ROUNDS: Final = 9  # runs of the model each way, in turn
WARM_UP: Final = 3
PAYS: Final = 1.0  # times as fast as without them: layers that do not get there in the model are switched off


def optimize(model: nn.Module, example_inputs: Any = None, *, rounds: int = ROUNDS) -> Report:
    """Puts the linear layers of `model` on tuned kernels, in place, and tells what became of each.

    With `example_inputs` the model is run both ways in turn: layers of a shape that make it no faster are switched off
    again, and the report has the speed before and after, the deviation from fp32, and what serves each layer.

    Args:
        model: any module, Hugging Face's among them. `restore(model)` undoes it.
        example_inputs: what the model is called with: a tensor, a tuple of arguments, or a dict of them by name.
        rounds: how often it is run each way.
    """
    if example_inputs is None:
        return replace(model)[1]
    training = model.training
    run = _runner(model.eval(), example_inputs)
    try:
        with torch.no_grad():
            return _proved(model, run, example_inputs, rounds)
    finally:
        model.train(training)


def _proved(model: nn.Module, run: Callable[[], Any], inputs: Any, rounds: int) -> Report:
    exact = _in_fp32(model, inputs)
    before = _tensors(run())
    chosen, report = replace(model)
    report.paths = _paths(chosen, run)
    after = _tensors(run())
    for group in _groups(chosen):
        speed = _speed(run, group, rounds)
        if speed < PAYS and any(layer.name in report.paths for layer in group):
            _switch(group, False)
            for layer in group:
                report.left[layer.name] = f"in this model it does not pay: {speed:.3f} of the speed without"
                report.paths.pop(layer.name, None)
    on = [layer for layer in chosen if type(layer.module) is Linear]
    report.replaced = [layer.name for layer in on]
    report.notes = [_speeds(run, on, inputs, rounds), _deviations(exact, before, after)]
    return report


def _runner(model: nn.Module, inputs: Any) -> Callable[[], Any]:
    if isinstance(inputs, Mapping):
        return lambda: model(**inputs)
    arguments = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    return lambda: model(*arguments)


def _switch(layers: Sequence[Layer], on: bool) -> None:
    for layer in layers:
        switch(layer.module, on)


def _groups(layers: Sequence[Layer]) -> list[list[Layer]]:
    """Layers of one shape are served alike: they are judged together."""
    groups: dict[tuple[int, int], list[Layer]] = {}
    for layer in layers:
        groups.setdefault(layer.shape, []).append(layer)
    return list(groups.values())


def _paths(layers: Sequence[Layer], run: Callable[[], Any]) -> dict[str, str]:
    """What serves each layer, as one run shows."""
    found: dict[str, str] = {}

    def hook(layer: Layer) -> Callable[..., None]:
        def look(module: nn.Linear, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0]
            if x.is_cuda and x.dtype == module.weight.dtype:
                choice = plan_of(x, module.weight, transposed=True).choice
                found[layer.name] = (
                    f"{choice.config or 'the library'} ({choice.origin}) on {list(x.shape)}: {choice.why}"
                )
            else:
                found[layer.name] = f"torch, on a {x.device.type} in {x.dtype}"

        return look

    handles = [layer.module.register_forward_pre_hook(hook(layer)) for layer in layers]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return found


def _seconds(run: Callable[[], Any]) -> float:
    _synchronize()
    begun = time.perf_counter()
    run()
    _synchronize()
    return time.perf_counter() - begun


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _both(run: Callable[[], Any], layers: Sequence[Layer], rounds: int) -> tuple[list[float], list[float]]:
    """Seconds without and with these layers on kernels, round by round, the order reversed every other one."""
    read: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(-WARM_UP, rounds):
        for on in (False, True) if turn % 2 else (True, False):
            _switch(layers, on)
            taken = _seconds(run)
            if turn >= 0:
                read[on].append(taken)
    _switch(layers, True)
    return read[False], read[True]


def _speed(run: Callable[[], Any], layers: Sequence[Layer], rounds: int) -> float:
    without, with_them = _both(run, layers, rounds)
    return statistics.median(one / other for one, other in zip(without, with_them, strict=True))


def _speeds(run: Callable[[], Any], layers: Sequence[Layer], inputs: Any, rounds: int) -> str:
    if not layers:
        return "no layer is on kernels: the model is as fast as it was"
    without, with_them = _both(run, layers, rounds)
    count, unit = _units(inputs)
    before, after = (count / statistics.median(times) for times in (without, with_them))
    ratio = statistics.median(one / other for one, other in zip(without, with_them, strict=True))
    return (
        f"{before:,.1f} {unit} a second before, {after:,.1f} after: {ratio:.3f} times as fast, {rounds} rounds in turn"
    )


def _units(inputs: Any) -> tuple[int, str]:
    """How many tokens a run takes, when whole numbers go in; else how many samples."""
    tensors = [leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)]
    tokens = next((leaf for leaf in tensors if not leaf.is_floating_point() and leaf.dim() >= 2), None)
    if tokens is not None:
        return tokens.numel(), "tokens"
    first = next((leaf for leaf in tensors if leaf.dim()), None)
    return (first.shape[0] if first is not None else 1), "samples"


def _tensors(output: Any) -> list[Tensor]:
    return [leaf.float() for leaf in tree_leaves(output) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def _in_fp32(model: nn.Module, inputs: Any) -> list[Tensor] | None:
    """The outputs of a copy of the model in fp32; None where there is no memory for one."""

    def wide(leaf: Any) -> Any:
        return leaf.float() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf

    try:
        return _tensors(_runner(copy.deepcopy(model).float(), tree_map(wide, inputs))())
    except torch.OutOfMemoryError:
        return None


def _deviations(exact: list[Tensor] | None, before: list[Tensor], after: list[Tensor]) -> str:
    if exact is None or [one.shape for one in exact] != [one.shape for one in after]:
        worst = max((_largest(one, other) for one, other in zip(before, after, strict=True)), default=0.0)
        return f"largest deviation of the outputs from before: {worst:.3g} (no memory for a copy in fp32)"
    was, now = (
        max((_largest(one, other) for one, other in zip(exact, outputs, strict=True)), default=0.0)
        for outputs in (before, after)
    )
    return f"largest deviation of the outputs from fp32: {was:.3g} before, {now:.3g} after"


def _largest(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max()) if one.numel() else 0.0
