"""What a fused epilogue is raced against: cuBLAS followed by pointwise kernels of Inductor, as families of one config.

Each writes D, and no more memory than it must: a compiled function copies into D what it computes, which Inductor turns
into a kernel that stores there. `benchmarks/fused.py` names them to the measuring process; the library family itself is
the rival that does each step by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch
import torch._inductor.config
import torch.fx.experimental._config
from torch import Tensor
from torch.nn import functional

from tilewright.kernels.config import Config
from tilewright.kernels.family import Call, Family, Launch
from tilewright.kernels.problem import Problem
from tilewright.kernels.space import Constraint

ACTIVATIONS: Final[MappingProxyType[str, Callable[[Tensor], Tensor]]] = MappingProxyType(
    {"gelu": functional.gelu, "silu": functional.silu}
)
TAKEN: Final = tuple(f"bias+{name}" for name in ACTIVATIONS) + tuple(f"{name}+up" for name in ACTIVATIONS)


@cache
def compiled(what: Callable[..., None], activation: str) -> Any:
    """Once for all shapes: 10 s of each rival and shape otherwise, where the kernels take 0.2 ms (H100, 2026-11)."""
    torch._inductor.config.compile_threads = 1  # a pool takes longer to start than these kernels to compile
    torch.fx.experimental._config.use_duck_shape = False  # or extents that happen to be equal are one to the compiler
    return torch.compile(what, dynamic=True)


def biased(d: Tensor, bias: Tensor, activation: Callable[[Tensor], Tensor]) -> None:
    d.copy_(activation(d + bias))


def biased_apart(product: Tensor, bias: Tensor, d: Tensor, activation: Callable[[Tensor], Tensor]) -> None:
    d.copy_(activation(product + bias))


def activated(d: Tensor, activation: Callable[[Tensor], Tensor]) -> None:
    d.copy_(activation(d))


def whole(a: Tensor, b: Tensor, bias: Tensor, d: Tensor, activation: Callable[[Tensor], Tensor]) -> None:
    d.copy_(activation(a @ b + bias))


def gated(first: Tensor, second: Tensor, d: Tensor, activation: Callable[[Tensor], Tensor]) -> None:
    d.copy_(activation(first) * second)


def gated_apart(both: Tensor, d: Tensor, activation: Callable[[Tensor], Tensor]) -> None:
    d.copy_(activation(both[:, : d.shape[1]]) * both[:, d.shape[1] :])


def gated_whole(a: Tensor, b: Tensor, up: Tensor, d: Tensor, activation: Callable[[Tensor], Tensor]) -> None:
    d.copy_(activation(a @ b) * (a @ up))


def _steps(call: Call) -> tuple[str, str]:
    first, second = call.problem.epilogue.split("+")
    return (second, "bias") if first == "bias" else (first, "up")


def _given(operand: Tensor | None) -> Tensor:
    if operand is None:
        raise ValueError("an operand of the epilogue is missing")
    return operand


def bind_compiled(call: Call, config: Config) -> Launch:
    """The product into D, of the gated pair one product as wide as both; then a compiled kernel."""
    (name, operand), a, b, d = _steps(call), call.a, call.b, call.d
    activation = ACTIVATIONS[name]
    if operand == "bias":
        finish, beside = compiled(biased, name), call.bias

        def launch() -> None:
            torch.mm(a, b, out=d)
            finish(d, beside, activation)

        return launch
    weights = torch.cat([b.T, _given(call.up).T]).T
    both = torch.empty((call.problem.m, 2 * call.problem.n), dtype=d.dtype, device=d.device)
    finish = compiled(gated_apart, name)

    def launch_both() -> None:
        torch.mm(a, weights, out=both)
        finish(both, d, activation)

    return launch_both


def bind_other(call: Call, config: Config) -> Launch:
    """A bias that cuBLAS adds by itself, and of the gated pair two products; then a compiled kernel."""
    (name, operand), a, b, d = _steps(call), call.a, call.b, call.d
    activation = ACTIVATIONS[name]
    if operand == "bias":
        bias, finish = _given(call.bias), compiled(activated, name)

        def launch() -> None:
            torch.addmm(bias, a, b, out=d)
            finish(d, activation)

        return launch
    second, up, finish = torch.empty_like(d), _given(call.up), compiled(gated, name)

    def launch_two() -> None:
        torch.mm(a, b, out=d)
        torch.mm(a, up, out=second)
        finish(d, second, d, activation)

    return launch_two


def bind_whole(call: Call, config: Config) -> Launch:
    """All of it as Inductor has it."""
    (name, operand), a, b, d = _steps(call), call.a, call.b, call.d
    what, beside = (whole, call.bias) if operand == "bias" else (gated_whole, call.up)
    run, activation = compiled(what, name), ACTIVATIONS[name]
    return lambda: run(a, b, beside, d, activation)


def bind_apart(call: Call, config: Config) -> Launch:
    """The product into a matrix of its own, and a compiled kernel from there to D."""
    (name, _), a, b, d = _steps(call), call.a, call.b, call.d
    between, bias, activation = _between(call), _given(call.bias), ACTIVATIONS[name]
    finish = compiled(biased_apart, name)

    def launch() -> None:
        torch.mm(a, b, out=between)
        finish(between, bias, d, activation)

    return launch


def bind_eager_apart(call: Call, config: Config) -> Launch:
    """The same as torch does it without a compiler; it adds the bias within the product."""
    (name, _), a, b, d = _steps(call), call.a, call.b, call.d
    between, bias, activate = _between(call), _given(call.bias), getattr(torch.ops.aten, name).out

    def launch() -> None:
        torch.addmm(bias, a, b, out=between)
        activate(between, out=d)

    return launch


def _between(call: Call) -> Tensor:
    """One matrix for all operands of a problem, as an allocator hands it out again and again."""
    key = (call.problem, call.d.device)
    if key not in _matrices:
        _matrices.clear()
        _matrices[key] = torch.empty_like(call.d)
    return _matrices[key]


_matrices: dict[object, Tensor] = {}


KNOWN: Final = Constraint(
    "epilogue",
    "epilogues beside those raced",
    lambda problem, device, config: int(problem.epilogue not in TAKEN),
    lambda problem, device, config: 0,
    f"one of {', '.join(TAKEN)}",
)


def _family(constant: str, summary: str, bind: Callable[[Call, Config], Launch]) -> Family:
    name = f"tilewright.benchmarks.unfused:{constant}"
    return Family(
        name=name,
        summary=summary,
        axes=(),
        constraints=(KNOWN,),
        defaults=lambda problem, device: (Config.of(name),),
        binary=None,
        refuses=lambda call, config: "",
        bind=bind,
        sources=(Path(__file__),),
    )


COMPILED: Final = _family("COMPILED", "torch.mm, then a compiled kernel", bind_compiled)
OTHER: Final = _family("OTHER", "torch.addmm or two torch.mm, then a compiled kernel", bind_other)
WHOLE: Final = _family("WHOLE", "torch.compile of all", bind_whole)
COMPILED_APART: Final = _family("COMPILED_APART", "torch.mm, then a compiled kernel to another matrix", bind_apart)
EAGER_APART: Final = _family("EAGER_APART", "torch.addmm, then torch's kernel to another matrix", bind_eager_apart)


def rivals(problem: Problem) -> tuple[Family, ...]:
    """Of the gated pair every one writes another matrix: its products are two."""
    always = (COMPILED, OTHER, WHOLE)
    return always if problem.products == 2 else (*always, COMPILED_APART, EAGER_APART)
