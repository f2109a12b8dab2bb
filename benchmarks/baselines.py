"""What a call's time on the host is held beside: torch's calls, and a plain Triton launch."""

from __future__ import annotations

from collections.abc import Callable

import click
import torch
import triton
import triton.language as tl

from tilewright.kernels.problem import Problem


@triton.jit  # type: ignore[untyped-decorator]
def plain_kernel(  # type: ignore[no-untyped-def]
    a, b, d, m, n, k, stride_am, stride_ak, stride_bk, stride_bn, stride_dm, stride_dn,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """A product as Triton's tutorial has it, for extents that its tiles divide: for what its launch takes."""
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    columns = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    steps = tl.arange(0, BLOCK_K)
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for done in range(0, k, BLOCK_K):
        a_tile = tl.load(a + rows * stride_am + (done + steps)[None, :] * stride_ak)
        b_tile = tl.load(b + (done + steps)[:, None] * stride_bk + columns * stride_bn)
        total = tl.dot(a_tile, b_tile, total)
    tl.store(d + rows * stride_dm + columns * stride_dn, total.to(d.dtype.element_ty))


def baselines(problem: Problem, x: torch.Tensor, weight: torch.Tensor) -> dict[str, Callable[[], object]]:
    """Calls for `x @ weight.T`, by name: x is [m, k], weight [n, k], both in bf16."""
    columns, form = weight.T, (problem.m, problem.n)

    def plain_triton() -> torch.Tensor:
        d = torch.empty(form, device="cuda", dtype=torch.bfloat16)
        strides = (*x.stride(), *columns.stride(), *d.stride())
        plain_kernel[problem.m // 16, problem.n // 32](
            x, columns, d, *problem.shape, *strides, BLOCK_M=16, BLOCK_N=32, BLOCK_K=32, num_warps=4, num_stages=2
        )
        return d

    layer = torch.nn.Linear(problem.k, problem.n, bias=False, device="cuda", dtype=torch.bfloat16)
    assert_right(plain_triton(), x, columns)
    return {
        "torch.mm": lambda: torch.mm(x, columns),
        "torch.nn.functional.linear": lambda: torch.nn.functional.linear(x, weight),
        "torch.nn.Linear": lambda: layer(x),
        "torch.empty": lambda: torch.empty(form, device="cuda", dtype=torch.bfloat16),
        "plain Triton launch": plain_triton,
    }


def assert_right(found: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
    exact = a.double() @ b.double()
    worst = ((found.double() - exact).abs() / exact.abs().clamp(min=1)).max().item()
    if not worst < torch.finfo(found.dtype).eps:
        raise click.ClickException(f"the result is off by {worst:.3g} of its value")
