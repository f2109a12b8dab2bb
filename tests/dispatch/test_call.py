"""On a machine without a GPU the same calls are torch's; and what is loaded for them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import tilewright
from tilewright.kernels.access import Accesses
from tilewright.kernels.dispatch import direct
from tilewright.kernels.dispatch.wanted import wanted_of
from tilewright.kernels.problem import LAYOUTS, Problem

LOADED = """
import sys, time, torch
begun = time.perf_counter()
import tilewright
tilewright.matmul(torch.ones(2, 3), torch.ones(3, 4)), tilewright.Linear, tilewright.optimize
print(time.perf_counter() - begun)
print([name for name in ("optuna", "sqlalchemy", "triton", "tilewright.tuner") if name in sys.modules])
"""


def test_a_serving_process_loads_no_tuner() -> None:
    ran = subprocess.run([sys.executable, "-P", "-c", LOADED], capture_output=True, text=True, check=True)
    seconds, loaded = ran.stdout.splitlines()
    assert loaded == "[]"
    assert float(seconds) < 0.5  # 0.02 on an idle machine; the bound is for one with other work


def test_a_torch_without_the_guards_of_its_compiler_is_served_the_longer_way(monkeypatch: pytest.MonkeyPatch) -> None:
    tilewright.use_table(None)
    monkeypatch.setattr(direct, "_tensor_guards", None)
    a, b = torch.randn(7, 11), torch.randn(11, 13)
    for _ in range(2):
        assert torch.equal(tilewright.matmul(a, b), a @ b)
    assert not direct.ways


@pytest.mark.parametrize("activation", [None, "relu"])
def test_a_bias_may_lie_in_the_memory_that_the_result_goes_to(activation: str | None) -> None:
    a, b, total = torch.randn(3, 4), torch.randn(4, 5), torch.randn(3, 5)
    expected = torch.addmm(total, a, b)
    expected = expected if activation is None else functional.relu(expected)
    assert tilewright.matmul(a, b, total, activation, out=total) is total
    torch.testing.assert_close(total, expected)
    row = total[0].clone()
    torch.testing.assert_close(tilewright.matmul(a, b, total[0], out=total), a @ b + row)


def test_what_cannot_be_stored_is_told_by_torch_and_before_anything_is_written() -> None:
    a, b, out = torch.randn(3, 4), torch.randn(4, 5), torch.ones(3, 5)
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        tilewright.matmul(a, b, torch.ones(5, requires_grad=True), out=out)
    with pytest.raises(ValueError, match="activation 'swish' is not known"):
        tilewright.matmul(a, b, activation="swish", out=out)
    with pytest.raises(ValueError, match="activation \\['relu'\\] is not known"):
        tilewright.matmul(a, b, activation=["relu"])  # type: ignore[arg-type]
    assert torch.equal(out, torch.ones(3, 5))


class Own:
    """No tensor, and says for itself what is done with it."""

    @classmethod
    def __torch_function__(cls, func: object, types: object, args: object = (), kwargs: object = None) -> str:
        return f"{getattr(func, '__name__', '')} by itself"


def test_what_is_no_tensor_is_torchs() -> None:
    a: Any = torch.randn(4, 4)
    own: Any = Own()
    for one, other in ((own, a), (a, own)):
        assert tilewright.matmul(one, other) == torch.matmul(one, other)
        assert tilewright.linear(one, other) == functional.linear(one, other)
    for nothing in (None, 3, [1.0]):
        with pytest.raises(TypeError) as theirs:
            torch.matmul(a, nothing)  # type: ignore[arg-type]
        with pytest.raises(TypeError) as ours:
            tilewright.matmul(a, nothing)  # type: ignore[arg-type]
        assert str(ours.value) == str(theirs.value)


def test_forms_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    tilewright.use_table(None)
    monkeypatch.setattr(direct, "MOST_PLANS", 8)
    for m in range(1, 40):
        tilewright.matmul(torch.ones(m, 4), torch.ones(4, 4).bfloat16().float())
        tilewright.matmul(torch.ones(m, 4).bfloat16(), torch.ones(4, 4).bfloat16())
    assert len(direct.ways) <= 9
    tilewright.use_table(None)


def test_a_file_that_is_no_table_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    for text in ("{", "", "[1]"):
        file.write_text(text)
        with pytest.raises(ValueError, match=r"table\.json"):
            tilewright.use_table(file)
    with pytest.raises(ValueError, match="table is a int: give a path, a Table or None"):
        tilewright.use_table(3)  # type: ignore[arg-type]


def test_matmul_is_that_of_torch() -> None:
    a, b, bias = torch.randn(5, 3, 8), torch.randn(8, 6), torch.randn(6)
    assert torch.equal(tilewright.matmul(a, b), a @ b)
    assert torch.equal(tilewright.matmul(a, b, bias, "relu"), functional.relu(a @ b + bias))
    assert torch.equal(tilewright.matmul(a[0, 0], b), a[0, 0] @ b)
    assert torch.equal(tilewright.matmul(b.T, a.mT), b.T @ a.mT)
    sparse = torch.eye(8).to_sparse()
    assert torch.equal(tilewright.matmul(sparse, b), b)
    whole = torch.arange(6).view(2, 3)
    assert torch.equal(tilewright.matmul(whole, whole.T), whole @ whole.T)
    out = torch.empty(3, 6)
    assert tilewright.matmul(a[0], b, out=out) is out
    assert torch.equal(out, a[0] @ b)
    assert torch.equal(tilewright.matmul(a[0], b, bias, out=out), a[0] @ b + bias)
    assert tilewright.matmul(a[:0], b).shape == (0, 3, 6)


def test_linear_is_that_of_torch() -> None:
    x, weight, bias = torch.randn(2, 3, 8), torch.randn(6, 8), torch.randn(6)
    expected = functional.linear(x, weight, bias)
    assert torch.equal(tilewright.linear(x, weight, bias), expected)
    assert torch.equal(tilewright.linear(x, weight, bias, activation="silu"), functional.silu(expected))
    with torch.inference_mode():
        assert torch.equal(tilewright.linear(x, weight, bias), expected)


@pytest.mark.parametrize("call", [tilewright.matmul, torch.matmul])
def test_errors_are_those_of_torch(call: Callable[[Tensor, Tensor], Tensor]) -> None:
    with pytest.raises(RuntimeError, match=r"cannot be multiplied \(2x3 and 4x5\)"):
        call(torch.ones(2, 3), torch.ones(4, 5))
    with pytest.raises(RuntimeError, match="same dtype"):
        call(torch.ones(2, 3), torch.ones(3, 5).double())
    for what in (np.ones((2, 3), np.float32), [[1.0, 2.0, 3.0]], None):
        with pytest.raises(TypeError, match="must be Tensor, not"):
            call(what, torch.ones(3, 5))  # type: ignore[arg-type]


@pytest.mark.parametrize("call", [tilewright.linear, functional.linear])
def test_errors_of_linear_are_those_of_torch(call: Callable[..., Tensor]) -> None:
    x, weight = torch.ones(2, 3), torch.ones(5, 3)
    for operands in ((x.numpy(), weight), (x, weight.numpy()), (x, weight, torch.ones(5).numpy())):
        with pytest.raises(TypeError, match="must be Tensor, not"):
            call(*operands)


def test_an_unknown_word_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match="activation 'swish' is not known: use one of relu"):
        tilewright.matmul(torch.ones(2, 3), torch.ones(3, 4), activation="swish")
    with pytest.raises(ValueError, match="miss policy 'tune' is none: use one of library, nearest, error"):
        tilewright.use_table(miss="tune")
    with pytest.raises(ValueError, match=r"table nowhere\.json is not there"):
        tilewright.use_table("nowhere.json")


def test_gradients_autocast_transforms_and_compilation_are_those_of_torch() -> None:
    x, weight = torch.randn(4, 8, requires_grad=True), torch.randn(6, 8, requires_grad=True)
    ours = torch.autograd.grad(tilewright.linear(x, weight).square().sum(), (x, weight))
    theirs = torch.autograd.grad(functional.linear(x, weight).square().sum(), (x, weight))
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    with torch.autocast("cpu", torch.bfloat16):
        assert tilewright.linear(x, weight).dtype is torch.bfloat16
        assert torch.equal(tilewright.matmul(x, weight.T), x @ weight.T)
    batch = torch.randn(3, 4, 8)
    assert torch.allclose(torch.vmap(lambda one: tilewright.matmul(one, weight.T))(batch), batch @ weight.T, atol=1e-6)
    compiled = torch.compile(lambda x: tilewright.linear(x, weight, activation="relu"), fullgraph=True, backend="eager")
    assert torch.equal(compiled(x), functional.relu(functional.linear(x, weight)))


@pytest.mark.parametrize("bias", [False, True])
def test_the_operators_keep_to_the_rules_of_torch(bias: bool) -> None:
    x = torch.randn(2, 3, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 8, dtype=torch.float64, requires_grad=True)
    added = torch.randn(6, dtype=torch.float64, requires_grad=True) if bias else None
    torch.library.opcheck(torch.ops.tilewright.linear, (x, weight, added))
    assert torch.autograd.gradcheck(lambda *given: torch.ops.tilewright.linear(*given[:2], added), (x, weight))
    other = torch.randn(8, 6, dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(torch.ops.tilewright.matmul, (x, other))
    assert torch.autograd.gradcheck(torch.ops.tilewright.matmul, (x, other))
    assert torch.autograd.gradgradcheck(torch.ops.tilewright.matmul, (x[0].detach().requires_grad_(), other))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_operands_are_read_as_the_problem_that_they_are(layout: str) -> None:
    problem = Problem(16, 32, 64, layout=layout)
    a = torch.empty((64, 16) if problem.a_transposed else (16, 64), dtype=torch.bfloat16)
    b = torch.empty((32, 64) if problem.b_transposed else (64, 32), dtype=torch.bfloat16)
    wanted = wanted_of(a.T if problem.a_transposed else a, b.T if problem.b_transposed else b)
    assert (wanted.problem, wanted.accesses) == (problem, Accesses.dense(problem))
    assert "and kernels are for GPUs" in tilewright.explain(wanted.a, wanted.b)


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        (torch.empty(4), torch.empty(4, 4), r"A is \[4\] and B is \[4, 4\]"),
        (torch.empty(4, 4), torch.empty(2, 4, 4), "a kernel takes"),
        (torch.empty(4, 4), torch.empty(4, 4).half(), "kernels take one of bf16, fp16, fp32 for both"),
        (torch.empty(4, 4).double(), torch.empty(4, 4).double(), "kernels take one of bf16, fp16, fp32 for both"),
        (torch.empty(0, 4), torch.empty(4, 4), "an empty product"),
        (torch.empty(4, 8)[:, ::2], torch.empty(4, 4), "neither rows nor columns lie dense"),
        (torch.empty(1, 4).expand(4, 4), torch.empty(4, 4), "neither rows nor columns lie dense"),
        (torch.empty(4, 5)[:, 1:], torch.empty(4, 4), "not multiples of 16 bytes"),
        (torch.empty(2, 8, 4)[:, ::2], torch.empty(4, 4), "its rows do not lie one after another"),
    ],
)
def test_what_no_kernel_takes_is_told(a: Tensor, b: Tensor, why: str) -> None:
    assert wanted_of(a, b).problem is None
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(tilewright.explain(a, b))
