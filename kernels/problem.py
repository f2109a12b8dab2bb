"""A problem: what is computed, D[m, n] = epilogue(A[m, k] @ B[k, n]), with its dtypes and its layout."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from .epilogue import OPERANDS, canonical, steps_of

LAYOUTS: Final = ("nn", "nt", "tn", "tt")
MAX_EXTENT: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class DType:
    """How an operand is held in memory and multiplied.

    Attributes:
        storage: the torch dtype that holds it, by name.
        bytes: of one element.
        epsilon: unit roundoff of an input as the multiplier sees it.
        precision: Triton's `input_precision` for a dot of it; or `promoted`, for partial sums of at most `PROMOTED`
            products that are added in fp32, where the multiplier's own accumulator is narrower.
        sigma: standard deviation of random inputs that use its range.
    """

    storage: str
    bytes: int
    epsilon: float
    precision: str
    sigma: float = 1.0


# tf32 is fp32 in memory, rounded to 10 mantissa bits as it enters the multiplier. Hopper sums products of fp8 in about
# 14 bits: `e4m3` is what torch._scaled_mm computes by default, and `e4m3fast` what it does with use_fast_accum.
DTYPES: Final = MappingProxyType(
    {
        "bf16": DType("bfloat16", 2, 2.0**-8, "ieee"),
        "fp16": DType("float16", 2, 2.0**-11, "ieee"),
        "fp32": DType("float32", 4, 2.0**-24, "ieee"),
        "tf32": DType("float32", 4, 2.0**-11, "tf32"),
        "e4m3": DType("float8_e4m3fn", 1, 2.0**-4, "promoted", sigma=64.0),
        "e5m2": DType("float8_e5m2", 1, 2.0**-3, "promoted", sigma=4096.0),
        "e4m3fast": DType("float8_e4m3fn", 1, 2.0**-4, "ieee", sigma=64.0),
        "int8": DType("int8", 1, 2.0**-8, "ieee", sigma=32.0),
    }
)
PROMOTED: Final = 128  # products, as many as cuBLAS adds before it promotes their sum
OUT_DTYPES: Final = ("bf16", "fp16", "fp32")

_SHAPE = re.compile(r"(-?\d+)x(-?\d+)x(-?\d+)")


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One matrix product: D[m, n] = epilogue(A[m, k] @ B[k, n]).

    Attributes:
        m, n, k: extents, 0 to 2**31 - 1.
        dtype: of A and B: bf16, fp16, fp32 (IEEE), tf32 (fp32 in memory, tf32 in the multiplier), e4m3 or e5m2 (fp8,
            partial sums promoted to fp32), e4m3fast (summed as the multiplier does), int8 (summed in int32).
        layout: BLAS letters, A then B: `n` is stored as written, row after row, `t` is stored transposed. `nt` is
            `x @ weight.T`, what `torch.nn.Linear` computes.
        out_dtype: of D, and of a bias and a residual; empty means the storage dtype of A and B, and bf16 where that is
            of one byte.
        epilogue: what is done to the product before it is rounded and stored, as `bias+gelu`; in any order, kept in
            the order of `kernels/epilogue.py`. Empty: nothing.

    Raises:
        ValueError: an extent, a dtype, a layout or an epilogue that is none; the message names it and what is accepted.
    """

    m: int
    n: int
    k: int
    dtype: str = "bf16"
    layout: str = "nt"
    out_dtype: str = ""
    epilogue: str = ""

    def __post_init__(self) -> None:
        for name, value in (("m", self.m), ("n", self.n), ("k", self.k)):
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_EXTENT:
                raise ValueError(f"{name} is {value!r}: an extent is a whole number from 0 to {MAX_EXTENT}")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype {self.dtype!r} is not known: use one of {', '.join(DTYPES)}")
        if self.layout not in LAYOUTS:
            raise ValueError(
                f"layout {self.layout!r} is none: use one of {', '.join(LAYOUTS)} (A then B, t is transposed)"
            )
        if not self.out_dtype:
            one_byte = DTYPES[self.dtype].bytes == 1
            out_dtype = "bf16" if one_byte else "fp32" if self.dtype == "tf32" else self.dtype
            object.__setattr__(self, "out_dtype", out_dtype)
        if self.out_dtype not in OUT_DTYPES:
            raise ValueError(f"out_dtype {self.out_dtype!r} is not known: use one of {', '.join(OUT_DTYPES)}")
        object.__setattr__(self, "epilogue", canonical(self.epilogue))

    @classmethod
    def parse(
        cls, text: str, dtype: str = "bf16", layout: str = "nt", out_dtype: str = "", epilogue: str = ""
    ) -> Problem:
        """The problem that `text` names, as in `4096x28672x4096` (m x n x k)."""
        return cls(*parse_shape(text), dtype, layout, out_dtype, epilogue)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.m, self.n, self.k

    @property
    def flops(self) -> int:
        """Floating-point operations: a multiplication and an addition for each of m * n * k in each product, the rest
        of an epilogue nothing."""
        return 2 * self.m * self.n * self.k * self.products

    @property
    def products(self) -> int:
        """How many of A: a second one where the epilogue takes `up`."""
        return 2 if "up" in self.epilogue_operands else 1

    @property
    def bytes_moved(self) -> int:
        """The fewest bytes: A, B and the epilogue's operands read once, D written once."""
        size = DTYPES[self.dtype].bytes
        read = (self.m * self.k + self.k * self.n) * size
        out = DTYPES[self.out_dtype].bytes
        beside = {"scale": 4, "row_scale": 4 * self.m, "column_scale": 4 * self.n, "bias": self.n * out}
        beside |= {"up": self.k * self.n * size, "residual": self.m * self.n * out}
        return read + self.m * self.n * out + sum(beside[name] for name in self.epilogue_operands)

    @property
    def epilogue_operands(self) -> tuple[str, ...]:
        """Of `scale` (one fp32 number), `row_scale` (m of them), `column_scale` (n), `bias` (n), `up` (k x n, as B) and
        `residual` (m x n) those that the epilogue takes."""
        return tuple(step for step in steps_of(self.epilogue) if step in OPERANDS)

    @property
    def a_transposed(self) -> bool:
        return self.layout[0] == "t"

    @property
    def b_transposed(self) -> bool:
        return self.layout[1] == "t"

    @property
    def key(self) -> str:
        """A name for files and people: `4096x4096x4096-bf16-nt`; `-bf16_fp32-nt` when D has another dtype, and with
        the epilogue at its end when there is one: `-nt-bias+gelu`."""
        same = DTYPES[self.out_dtype].storage == DTYPES[self.dtype].storage
        dtype = self.dtype if same else f"{self.dtype}_{self.out_dtype}"
        name = f"{self.m}x{self.n}x{self.k}-{dtype}-{self.layout}"
        return f"{name}-{self.epilogue}" if self.epilogue else name

    @property
    def options(self) -> str:
        """What the command line says of it beside its shape."""
        epilogue = f" --epilogue {self.epilogue}" if self.epilogue else ""
        return f"--dtype {self.dtype} --layout {self.layout}{epilogue}"

    def __str__(self) -> str:
        return self.key


def parse_shape(text: str) -> tuple[int, int, int]:
    """(m, n, k) of `4096x28672x4096`.

    Raises:
        ValueError: `text` is not three whole numbers from 0 on, joined by `x`.
    """
    match = _SHAPE.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f"shape {text!r} is not m x n x k: write three whole numbers as in 4096x28672x4096")
    m, n, k = (int(part) for part in match.groups())
    return m, n, k
