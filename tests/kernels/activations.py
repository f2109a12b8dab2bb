"""Prints how far each activation is from torch's in fp64, all along the line, in Triton's interpreter; a program."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any, Final

import torch
import triton
import triton.language as tl
from torch.nn import functional

from tilewright.kernels import fused

IN_TORCH: Final[dict[str, Callable[[torch.Tensor], torch.Tensor]]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_16_bit": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
}


@triton.jit  # type: ignore[untyped-decorator]
def line_kernel(arguments: Any, values: Any, COUNT: tl.constexpr, ACTIVATION: tl.constexpr) -> None:  # noqa: N803
    at = tl.arange(0, COUNT)[None, :]
    total = tl.load(arguments + at)
    total = fused.epilogue(total, None, at, at, 1, COUNT, None, None, None, None, None, 0, 0, ACTIVATION)
    tl.store(values + at, total)


def main() -> None:
    ends = torch.tensor([0.0, -0.0, 88.0, -88.0, 3e4, -3e4, 1e20, torch.inf, -torch.inf, torch.nan])
    line = torch.cat([torch.linspace(-9, 9, 4096 - len(ends)), ends])
    found = {}
    for name, in_torch in IN_TORCH.items():
        values = torch.empty_like(line)
        line_kernel[(1,)](line, values, len(line), name)
        wide = in_torch(line.double())
        finite = wide.isfinite()
        found[name] = {
            "error": float((values - wide)[finite].abs().div(1 + wide[finite].abs()).max()),
            "same_nan": torch.equal(values.isnan(), wide.isnan()),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    warnings.simplefilter("ignore", RuntimeWarning)  # numpy's, of an overflow that is wanted
    main()
