"""Epilogues: what is done to a product before it is stored, as names. What they compute: `fused.py`.

An epilogue is its steps joined by `+`, in the one order in which they are taken: scale, row_scale, column_scale, bias,
activation, up, residual. So `scale+bias+gelu+residual` is residual + gelu(scale * (A @ B) + bias). A scale is one fp32
number for all of D, for each row (of A) or for each column (of D: an output channel). `up` multiplies with a second
product of A: `silu+up`, the gated pair of a model's layer, is silu(A @ B) * (A @ up). Each step is there at most once,
and there is at most one activation.
"""

from __future__ import annotations

from typing import Final

ACTIVATIONS: Final = ("relu", "gelu", "gelu_tanh", "silu")
# In the order in which they are taken; of a group at most one. All but activations have an operand of that name.
ORDER: Final = (("scale",), ("row_scale",), ("column_scale",), ("bias",), ACTIVATIONS, ("up",), ("residual",))
STEPS: Final = tuple(step for group in ORDER for step in group)
SCALES: Final = ("scale", "row_scale", "column_scale")  # in fp32
OPERANDS: Final = tuple(step for step in STEPS if step not in ACTIVATIONS)


def steps_of(epilogue: str) -> tuple[str, ...]:
    """The steps of a canonical epilogue, none for ""."""
    return tuple(epilogue.split("+")) if epilogue else ()


def canonical(text: str) -> str:
    """`text` with its steps in the order in which they are taken; "" stays "".

    Raises:
        ValueError: a step is none, is there twice, or is a second activation.
    """
    given = [step.strip() for step in text.split("+")] if text.strip() else []
    unknown = [step for step in given if step not in STEPS]
    if unknown:
        raise ValueError(
            f"epilogue {text!r} has no step {unknown[0]!r}: join some of {', '.join(STEPS)} with +, as in bias+gelu"
        )
    for group in ORDER:
        taken = [step for step in given if step in group]
        if len(taken) > 1:
            raise ValueError(f"epilogue {text!r} has {' and '.join(taken)}: one of {', '.join(group)} is the most")
    return "+".join(step for step in STEPS if step in given)
