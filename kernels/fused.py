"""Epilogues in Triton and in torch, one row a step, and what a kernel needs to take them.

A kernel applies `epilogue` to a tile of the accumulator, in fp32, just before the store. Its parameters for that stand
after all others: scale (one fp32 number), row_scale (m of them), column_scale (n of them), bias (n elements) and
residual (m x n) as pointers, None where there is none, the residual's strides, and the activation. The residual is read
as D is written: its rows lie as those of D do. The second weight, `up`, is an operand like B and lies as B does; its
product arrives in a tile of its own.

While a warp group is at its epilogue the tensor cores multiply for another one, but not for long: with 64 x 256
elements, a warp group has about 16 instructions an element, and an exponential or a reciprocal takes the place of 8. So
an activation is one or two of these as the hardware has them (each within 2 units in the last place of fp32); the exact
`erf` is for D in fp32 alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import triton
import triton.language as tl

from .access import VECTOR_BYTES, Access, Accesses
from .binary import interpreting
from .epilogue import ACTIVATIONS, OPERANDS, SCALES, steps_of
from .family import Call, Launch
from .problem import DTYPES, Problem
from .space import Constraint

if TYPE_CHECKING:
    import torch

INTERPRETED = tl.constexpr(interpreting())  # the interpreter knows no machine instructions
LARGEST = tl.constexpr(3.4028234663852886e38)  # of fp32


@triton.jit
def scaled(total, scale):
    return total * scale


@triton.jit
def added(total, operand):
    return total + operand


@triton.jit
def multiplied(total, operand):
    return total * operand


@triton.jit
def relu(total):
    # Not maximum(), which drops a NaN.
    return tl.where(total < 0, 0.0, total)


@triton.jit
def damped(total, exponent):
    """total / (1 + 2**exponent). A NaN stays one."""
    if INTERPRETED:
        factor = 1.0 / (1.0 + tl.exp2(exponent))
    else:  # Triton's own division and exponential look after subnormal numbers, with three times the instructions
        factor = tl.inline_asm_elementwise(
            """{
                .reg .f32 power;
                ex2.approx.ftz.f32 power, $1;
                add.ftz.f32 power, power, 0f3F800000;
                rcp.approx.ftz.f32 $0, power;
            }""",
            "=f,f", [exponent], dtype=tl.float32, is_pure=True, pack=1,
        )  # fmt: skip
    return total * factor


@triton.jit
def gelu(total):
    return 0.5 * total * (1.0 + tl.erf(total * 0.7071067811865476))  # sqrt(1 / 2)


@triton.jit
def power_of_2(exponent):
    if INTERPRETED:
        found = tl.exp2(exponent)
    else:
        found = tl.inline_asm_elementwise(
            "ex2.approx.ftz.f32 $0, $1;", "=f,f", [exponent], dtype=tl.float32, is_pure=True, pack=1
        )
    return found


@triton.jit
def gelu_16_bit(total):
    """gelu for a D of 16 bits: max(x, 0) - |x| * Phi(-|x|).

    The logarithm of Phi, the normal distribution, is a polynomial, and gelu has one exponential and no reciprocal. It
    errs by 8e-6 at most, relatively by 3e-4 down to -3. Without an epilogue, what is rounded to fp16 is the product and
    then its gelu: down to -5 that costs 8 times as much in every part of the line, and in bf16 69 times.
    """
    size = tl.abs(tl.minimum(total, LARGEST, propagate_nan=tl.PropagateNan.ALL))  # for of infinity, no part is nothing
    logarithm = 0.005973286921901241 - 0.0003291747845884769 * size
    logarithm = -0.46292301685653287 + size * (-0.04894290029305605 + size * logarithm)
    logarithm = -1.0000829581185515 + size * (-1.1497730949806475 + size * logarithm)
    return tl.maximum(total, 0.0, propagate_nan=tl.PropagateNan.ALL) - size * power_of_2(logarithm)


@triton.jit
def gelu_tanh(total):
    # 0.5 * (1 + tanh(x)) is 1 / (1 + exp(-2 * x)); the first number is -2 * sqrt(2 / pi) / log(2), and the second one
    # 0.044715 of it. Source: torch.nn.functional.gelu.
    return damped(total, total * (-2.302208198144325 - 0.1029432395800235 * (total * total)))


@triton.jit
def silu(total):
    return damped(total, total * -1.4426950408889634)  # -1 / log(2)


@dataclass(frozen=True, slots=True)
class Step:
    """One step on a tile, in Triton, and on a matrix in place, in torch. Both take the step's operand if it has one, or
    A @ up.

    A tile's steps are called by name, in `epilogue`: Triton compiles no table.
    """

    kernel: Any
    in_place: Callable[..., torch.Tensor]


def _gelu(matrix: torch.Tensor, approximate: str = "none") -> torch.Tensor:
    import torch  # here, for a compiling process that lists the families does without it

    return torch.ops.aten.gelu_(matrix, approximate=approximate)  # type: ignore[no-any-return]


def _silu(matrix: torch.Tensor) -> torch.Tensor:
    from torch.nn import functional

    return functional.silu(matrix, inplace=True)


TABLE: Final = MappingProxyType(
    {
        "scale": Step(scaled, lambda matrix, scale: matrix.mul_(scale)),
        "row_scale": Step(scaled, lambda matrix, scales: matrix.mul_(scales[:, None])),
        "column_scale": Step(scaled, lambda matrix, scales: matrix.mul_(scales)),
        "bias": Step(added, lambda matrix, bias: matrix.add_(bias)),
        "relu": Step(relu, lambda matrix: matrix.relu_()),
        "gelu": Step(gelu, _gelu),
        "gelu_tanh": Step(gelu_tanh, lambda matrix: _gelu(matrix, "tanh")),
        "silu": Step(silu, _silu),
        "up": Step(multiplied, lambda matrix, product: matrix.mul_(product)),
        "residual": Step(added, lambda matrix, residual: matrix.add_(residual)),
    }
)


@triton.jit
def epilogue(
    total, paired, rows, columns, m, n, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
    ACTIVATION: tl.constexpr,
):  # fmt: skip
    """The tile of D, [rows, columns], of the accumulator's tile and of that of `up`, which is None where there is none.

    In Gluon rows and columns are in slices of the accumulator's layout.
    """
    total = total.to(tl.float32)
    if scale is not None:
        total = scaled(total, tl.load(scale))
    if row_scale is not None:
        total = scaled(total, tl.load(row_scale + rows, mask=rows < m, other=0.0)[:, None])
    if column_scale is not None:
        total = scaled(total, tl.load(column_scale + columns, mask=columns < n, other=0.0)[None, :])
    if bias is not None:
        total = added(total, tl.load(bias + columns, mask=columns < n, other=0.0).to(tl.float32)[None, :])
    if ACTIVATION == "relu":
        total = relu(total)
    elif ACTIVATION == "gelu":
        total = gelu(total)
    elif ACTIVATION == "gelu_16_bit":
        total = gelu_16_bit(total)
    elif ACTIVATION == "gelu_tanh":
        total = gelu_tanh(total)
    elif ACTIVATION == "silu":
        total = silu(total)
    if paired is not None:
        total = multiplied(total, paired)
    if residual is not None:
        at = residual + rows.to(tl.int64)[:, None] * stride_rm + columns.to(tl.int64)[None, :] * stride_rn
        inside = (rows[:, None] < m) & (columns[None, :] < n)
        total = added(total, tl.load(at, mask=inside, other=0.0).to(tl.float32))
    return total


@dataclass(frozen=True, slots=True)
class Parameters:
    """What an epilogue adds to a kernel's binary."""

    types: dict[str, str]
    constants: dict[str, Any]
    divisible: dict[str, int]


def parameters(problem: Problem, accesses: Accesses, element: str) -> Parameters:
    """For D's `element`, as Triton names it."""
    steps, out_bytes = steps_of(problem.epilogue), DTYPES[problem.out_dtype].bytes
    types = {**dict.fromkeys(SCALES, "*fp32"), "bias": f"*{element}", "residual": f"*{element}"}
    found = Parameters({name: types[name] for name in types if name in steps}, {}, {})
    found.constants.update({name: None for name in types if name not in steps})
    found.constants["ACTIVATION"] = _activation(steps, out_bytes)
    for axis, stride in enumerate(("stride_rm", "stride_rn")):
        if "residual" not in steps:
            found.constants[stride] = 0
        elif accesses.d.unit == axis:
            found.constants[stride] = 1
        else:
            found.types[stride] = "i64"
            if accesses.d.aligned:
                found.divisible[stride] = VECTOR_BYTES // out_bytes
    if "residual" in steps and accesses.d.aligned:
        found.divisible["residual"] = VECTOR_BYTES
    if found.types and accesses.d.aligned and accesses.d.unit == 1:  # else each element is loaded by itself
        found.divisible["n"] = VECTOR_BYTES // out_bytes
    return found


def _activation(steps: tuple[str, ...], out_bytes: int) -> str:
    found = next((step for step in steps if step in ACTIVATIONS), "")
    return "gelu_16_bit" if found == "gelu" and out_bytes == 2 else found


def arguments(call: Call) -> list[Any]:
    """The run-time arguments of `parameters`, in the kernel's order."""
    given = [getattr(call, name) for name in call.problem.epilogue_operands if name != "up"]
    if call.residual is None or "residual" not in call.problem.epilogue_operands:
        return given
    unit = Access.of(call.d).unit
    return [*given, *(stride for axis, stride in enumerate(call.residual.stride()) if axis != unit)]


def refuses(call: Call) -> str:
    """Why the epilogue's operands cannot be taken, or "": vectors are dense, `up` lies as B and a residual as D."""
    for name in call.problem.epilogue_operands:
        given = getattr(call, name)
        if given is None:
            return f"{name} is missing: the epilogue {call.problem.epilogue} takes it"
        if name in ("row_scale", "column_scale", "bias") and given.stride(0) != 1 and given.numel() > 1:
            return f"{name} has a stride of {given.stride(0)}: make it contiguous"
        if name == "up" and (given.stride() != call.b.stride() or Access.of(given) != Access.of(call.b)):
            return f"up has strides {tuple(given.stride())}: make it lie as B does, as aligned"
        if name == "residual":
            own, wanted = Access.of(given), Access.of(call.d)
            if (wanted.unit is not None and own.unit != wanted.unit) or (wanted.aligned and not own.aligned):
                return f"residual has strides {tuple(given.stride())}: make it lie as D does, as aligned"
    return ""


def then(product: Launch, call: Call, skipped: int = 0, paired: torch.Tensor | None = None) -> Launch:
    """`product`, which leaves the plain product in D and that of `up` in `paired`, and the steps after the first
    `skipped` one after another."""
    steps = steps_of(call.problem.epilogue)[skipped:]
    if not steps:
        return product
    taken = {name: paired if name == "up" else getattr(call, name) for name in OPERANDS}
    chain = [(TABLE[step].in_place, [taken[step]] if step in taken else []) for step in steps]

    def launch() -> None:
        product()
        for in_place, operand in chain:
            in_place(call.d, *operand)

    return launch


ONE_PRODUCT: Final = Constraint(
    "products",
    "products",
    lambda problem, device, config: problem.products,
    lambda problem, device, config: 1,
    "this kernel has one accumulator",
)
