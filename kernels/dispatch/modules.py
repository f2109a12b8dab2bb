"""A model on tuned kernels: `Linear`, and what makes the linear layers of any model such ones, and back, in place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .call import linear, linear_at_once
from .direct import by_library, engine_of, settings
from .operator import count_flops
from .plan import DTYPE_NAMES

MISSING: Any = object()  # a bias that is no parameter: pruned, or had by a parametrization
_dynamo = torch.compiler.is_dynamo_compiling


class Linear(nn.Linear):
    """`torch.nn.Linear` with the same parameters and keys, by a tuned kernel where one is known to be faster."""

    def forward(self, input: Tensor) -> Tensor:
        """As of `torch.nn.Linear`: `input` is [..., k], what it gives [..., n]."""
        if not _dynamo():
            own = self._parameters  # straight: `self.weight` is had in Python, for 0.3 us each time
            weight, bias = own.get("weight"), own.get("bias", MISSING)
            if weight is not None and bias is not MISSING:
                found = linear_at_once(input, weight, bias)
                if found is not None:
                    return found
        return linear(input, self.weight, self.bias)

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """A new parameter may have the id of one that is gone, and was the library's."""
        by_library.clear()
        super().register_parameter(name, param)

    def _apply(self, *arguments: Any, **named: Any) -> Any:
        """Of `to` and its like: what was the library's on a CPU, or in another dtype, is looked up again."""
        by_library.clear()
        return super()._apply(*arguments, **named)  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Layer:
    """A linear layer of a model, by its name there."""

    name: str
    module: nn.Linear

    @property
    def shape(self) -> tuple[int, int]:
        """n and k."""
        n, k = self.module.weight.shape
        return n, k


@dataclass(slots=True)
class Report:
    """What became of a model's layers.

    Attributes:
        replaced: names of the layers that look for a kernel now.
        left: name -> why it was left as it was.
        paths: name -> what serves it, as seen on the example inputs.
        notes: what was measured, a sentence each.
    """

    replaced: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{len(self.replaced)} linear layers replaced, {len(self.left)} left", *self.notes]
        for told in (self.paths, self.left):
            by_reason: dict[str, list[str]] = {}
            for name, reason in told.items():
                by_reason.setdefault(reason, []).append(name)
            lines += [f"{_some(names) or 'the model itself'}: {reason}" for reason, names in by_reason.items()]
        return "\n".join(lines)


def _some(names: list[str]) -> str:
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def replace(model: nn.Module) -> tuple[list[Layer], Report]:
    """Makes the linear layers of `model` that a kernel may serve look for one. A layer stays the object that it was,
    with its parameters, hooks and names: only its class is another."""
    report, replaced = Report(), []
    by_library.clear()  # a parameter of this model may have the id of one that is gone
    if torch.cuda.is_available():
        count_flops()
    for layer in layers(model):
        if type(layer.module) is Linear:
            replaced.append(layer)
        elif reason := _reason_to_leave(layer):
            report.left[layer.name] = reason
        else:
            switch(layer.module, True)
            replaced.append(layer)
    report.replaced = [layer.name for layer in replaced]
    return replaced, report


def switch(module: nn.Linear, on: bool) -> None:
    """Makes a linear layer look for kernels, or makes it torch's again: only its class is another."""
    module.__class__ = Linear if on else nn.Linear


def restore(model: nn.Module) -> nn.Module:
    """Undoes `optimize`: every `tilewright.Linear` is a `torch.nn.Linear` again. Returns the model.

    Raises:
        ValueError: `model` is no module.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model is a {type(model).__name__}: give a torch.nn.Module")
    for layer in layers(model):
        if type(layer.module) is Linear:
            switch(layer.module, False)
    return model


def layers(model: nn.Module) -> Iterator[Layer]:
    """The linear layers of a model, each once, by the first of its names."""
    return (Layer(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear))


def _reason_to_leave(layer: Layer) -> str:
    module = layer.module
    if type(module) is not nn.Linear:
        return f"it is a {type(module).__name__}, which may do more than a torch.nn.Linear"
    if "forward" in module.__dict__:
        return "its forward was replaced by somebody"
    if isinstance(module.weight, nn.parameter.UninitializedParameter):
        return "it has no weight yet"
    if module.weight.dtype not in DTYPE_NAMES and not torch.is_autocast_enabled(module.weight.device.type):
        return f"kernels do not take {module.weight.dtype}"
    return _nothing_is_known(layer) if module.weight.is_cuda else ""


def _nothing_is_known(layer: Layer) -> str:
    """Why the table of the layer's device will never have a kernel for it; empty when it may have."""
    engine, (n, k) = engine_of(layer.module.weight.get_device()), layer.shape
    if engine.found.table is None:
        return f"there is no table for {engine.device.name}: {'; '.join(engine.found.refused) or 'tune and export'}"
    if settings().miss == "error":
        return ""
    epilogue = "" if layer.module.bias is None else "bias"
    rows = {
        problem: row
        for problem, row in engine.found.table.winners.items()
        if (problem.n, problem.k, problem.epilogue) == (n, k, epilogue)
    }
    if not rows:
        told, option = (", with a bias,", " --epilogue bias") if epilogue else ("", "")
        return f"n={n}, k={k}{told} is not tuned: run `tilewright tune 16x{n}x{k}{option}` and export"
    if all(row[0].is_library for row in rows.values()):
        return f"the library won on n={n}, k={k} whatever m was tuned"
    return ""
