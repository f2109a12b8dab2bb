"""`optimize`: a model's linear layers on tuned kernels, and the proof in the model itself that this pays."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from . import modules
from .direct import plan_of
from .modules import Layer, Linear, Report, replace
from .proof import Duel, duel, switch_all

ROUNDS: Final = 9  # runs of the model each way, in turn


def optimize(model: nn.Module, example_inputs: Any = None, *, rounds: int = ROUNDS, captured: bool = False) -> Report:
    """Puts the linear layers of `model` on tuned kernels, in place, and tells what became of each.

    With `example_inputs` the model is run both ways in turn: layers that do not surely make it faster, those of a shape
    together, are torch's own again. The report has the speed before and after with its interval, the deviation from
    fp32, and what serves each layer.

    Args:
        model: any module, Hugging Face's among them. `restore(model)` undoes it.
        example_inputs: what the model is called with: a tensor, a tuple of arguments, or a dict of them by name.
        rounds: how often it is run each way, and up to four times as often where that leaves it open.
        captured: whether it is run from CUDA graphs, as servers run it, where the host's time does not count. Without a
            GPU there are none, and it says nothing.

    Raises:
        ValueError: `model` is no module, or an argument is out of its bounds; or, with example inputs, the model is
            compiled, or one of several processes that run together. Then, and when the model raises, all of it is as
            it was.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model is a {type(model).__name__}: give a torch.nn.Module, whose linear layers it is about")
    if not isinstance(rounds, int) or rounds < 1:
        raise ValueError(f"rounds is {rounds!r}: the model is run a whole number of times, 1 or more, each way")
    if example_inputs is None:
        return replace(model)[1]
    _check_can_be_proved(model)
    run = _runner(model, example_inputs)
    modes = [(module, module.training) for module in model.modules()]
    kinds = [(layer.module, type(layer.module)) for layer in modules.layers(model)]
    model.eval()
    try:
        with torch.no_grad():
            return _proved(model, run, example_inputs, rounds, captured and torch.cuda.is_available())
    except BaseException:
        for linear, kind in kinds:
            linear.__class__ = kind
        raise
    finally:
        _back_to(modes)


def _check_can_be_proved(model: nn.Module) -> None:
    """
    Raises:
        ValueError: every switch of a layer would be compiled anew; or each process would decide by its own clock, and
            run the model, with what it sends to the others, another number of times.
    """
    if any(hasattr(one, "_orig_mod") or getattr(one, "_compiled_call_impl", None) for one in model.modules()):
        raise ValueError("the model is compiled: give optimize the module itself, and compile it afterwards")
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        count = torch.distributed.get_world_size()
        if count > 1:
            raise ValueError(
                f"{count} processes run together, and each would decide by its own clock: "
                "call optimize before init_process_group, or without example_inputs"
            )


def _back_to(modes: Sequence[tuple[nn.Module, bool]]) -> None:
    """Each module in its mode again, parents first: by its `train`, which may do more, as take weights apart again."""
    for module, training in modes:
        if module.training != training:
            module.train(training)
    for module, training in modes:
        module.training = training


def _proved(model: nn.Module, run: Callable[[], Any], inputs: Any, rounds: int, captured: bool) -> Report:
    exact = _in_fp32(model, inputs)
    before = _tensors(run())
    chosen, report = replace(model)
    report.paths = _paths(chosen, run)
    after = _tensors(run())

    def compare(layers: Sequence[Layer]) -> Duel:
        return duel(run, layers, rounds, captured=captured)

    for layers, found in _losers(_groups(chosen), compare):
        _leave(report, layers, f"in this model it does not pay: {_told(found)} of the speed without")
    on = [layer for layer in chosen if type(layer.module) is Linear]
    told = "no layer is on kernels: the model is as fast as it was"
    if on:
        whole = compare(on)
        told = _speeds(whole, inputs)
        if whole.ratio.median < 1:
            _leave(
                report, on, f"all that is on kernels does not pay in this model: {_told(whole)} of the speed without"
            )
            told += "; all is as it was"
    report.replaced = [layer.name for layer in chosen if type(layer.module) is Linear]
    report.notes = [told, _deviations(exact, before, after)]
    return report


def _losers(
    groups: Sequence[Sequence[Layer]], compare: Callable[[Sequence[Layer]], Duel]
) -> Iterator[tuple[Sequence[Layer], Duel]]:
    """What does not surely pay, alone or with all others of which alone it stayed open. It is off when it is told."""
    undecided: list[Layer] = []
    for group in groups:
        found = compare(group)
        if found.is_open:
            undecided += group
        elif not found.pays:
            switch_all(group, False)
            yield group, found
    if undecided:
        together = compare(undecided)
        if not together.pays:
            switch_all(undecided, False)
            yield undecided, together


def _leave(report: Report, layers: Sequence[Layer], why: str) -> None:
    switch_all(layers, False)
    for layer in layers:
        report.left[layer.name] = why
        report.paths.pop(layer.name, None)


def _runner(model: nn.Module, inputs: Any) -> Callable[[], Any]:
    if isinstance(inputs, Mapping):
        return lambda: model(**inputs)
    if not isinstance(inputs, (Tensor, tuple, list)):
        told = f"example_inputs is a {type(inputs).__name__}"
        raise ValueError(f"{told}: give a tensor, a tuple of arguments, or a dict of them by name")
    arguments = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    return lambda: model(*arguments)


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
        def look(module: nn.Linear, inputs: tuple[Tensor, ...], named: Mapping[str, Tensor]) -> None:
            x = inputs[0] if inputs else named["input"]
            if x.is_cuda and x.dtype == module.weight.dtype:
                choice = plan_of(x, module.weight, transposed=True, bias=module.bias is not None).choice
                found[layer.name] = (
                    f"{choice.config or 'the library'} ({choice.origin}) on {list(x.shape)}: {choice.why}"
                )
            else:
                found[layer.name] = f"torch, on a {x.device.type} in {x.dtype}"

        return look

    handles = [layer.module.register_forward_pre_hook(hook(layer), with_kwargs=True) for layer in layers]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return found


def _speeds(before: Duel, inputs: Any) -> str:
    count, unit = _units(inputs)
    without, with_them = (count / statistics.median(times) for times in (before.without, before.with_them))
    return (
        f"{without:,.1f} {unit} a second before, {with_them:,.1f} after: {_told(before)} times as fast, "
        f"{len(before.without)} rounds in turn"
    )


def _told(found: Duel) -> str:
    ratio = found.ratio
    return f"{ratio.median:.3f} (from {ratio.low:.3f} to {ratio.high:.3f})"


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


def _in_fp32(model: nn.Module, inputs: Any) -> list[Tensor] | str:
    """The outputs of a copy of the model in fp32; or why there are none."""

    def wide(leaf: Any) -> Any:
        return leaf.float() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf

    try:
        return _tensors(_runner(copy.deepcopy(model).float(), tree_map(wide, inputs))())
    except torch.OutOfMemoryError:
        return "no memory for a copy in fp32"
    except Exception as error:  # as a cache of keys in bf16, which takes no others, or what cannot be copied
        told = (str(error).splitlines() or [type(error).__name__])[0]
        return f"there is no copy in fp32 that takes these inputs: {told}"


def _deviations(exact: list[Tensor] | str, before: list[Tensor], after: list[Tensor]) -> str:
    if isinstance(exact, str) or [one.shape for one in exact] != [one.shape for one in after]:
        worst = max((_largest(one, other) for one, other in zip(before, after, strict=True)), default=0.0)
        why = exact if isinstance(exact, str) else "a copy in fp32 has outputs of other shapes"
        return f"largest deviation of the outputs from before: {worst:.3g} ({why})"
    was, now = (
        max((_largest(one, other) for one, other in zip(exact, outputs, strict=True)), default=0.0)
        for outputs in (before, after)
    )
    return f"largest deviation of the outputs from fp32: {was:.3g} before, {now:.3g} after"


def _largest(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max()) if one.numel() else 0.0
