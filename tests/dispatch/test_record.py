"""What a program computes is written as shapes for `tune`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import tilewright
from tilewright.cli.shapes import read_weighted
from tilewright.kernels.problem import Problem


def test_forward_and_backward_are_recorded(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(32, 64), nn.Linear(64, 16, bias=False)).to(torch.bfloat16)
    tilewright.optimize(model)
    x = torch.randn(8, 32, dtype=torch.bfloat16)
    with tilewright.record(tmp_path / "shapes.csv") as recording:
        for _ in range(3):
            model(x).sum().backward()
        torch.ones(4, 4).double() @ torch.ones(4, 4).double()
    forward = {Problem(8, 64, 32, epilogue="bias"), Problem(8, 16, 64)}
    assert {problem: recording.counts[problem].calls for problem in forward} == dict.fromkeys(forward, 3)
    assert {problem.layout for problem in recording.counts} >= {"nt", "tn"}
    assert any("float64" in why for why in recording.others)
    shapes = list(read_weighted(tmp_path / "shapes.csv", Problem(1, 1, 1)))
    assert {shape.problem: shape.calls for shape in shapes} == {
        problem: count.calls for problem, count in recording.counts.items()
    }
    assert [shape.us for shape in shapes] == sorted((shape.us for shape in shapes), reverse=True)
    assert all(shape.us > 0 for shape in shapes)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
def test_a_program_runs_as_it_does_alone() -> None:
    """Sparse operands are torch's, and so is a product that is scaled."""
    a, b = torch.randn(3, 4), torch.randn(4, 5)
    expected = a.to_sparse_csr() @ b
    with tilewright.record() as recording:
        assert torch.equal(a.to_sparse_csr() @ b, expected)
        torch.addmm(torch.ones(5), a, b, beta=0.5, alpha=2)
        torch.addmm(torch.ones(5), a, b)
    assert {str(problem): count.calls for problem, count in recording.counts.items()} == {"3x5x4-fp32-nn-bias": 1}
    assert recording.others["addmm with factors, alpha or beta"] == 1


def test_a_path_is_looked_at_before_the_program_runs(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "no" / "shapes.csv", "there is no folder"), (tmp_path, "it is a folder")):
        with pytest.raises(ValueError, match=f"cannot be written: {why}"), tilewright.record(path):
            pytest.fail("it ran")


@pytest.mark.parametrize("row", ["1,1,1,x", "1,1,1,-2", "1,1,1,nan"])
def test_a_weight_that_is_none_is_named(tmp_path: Path, row: str) -> None:
    file = tmp_path / "shapes.csv"
    file.write_text(f"m,n,k,calls\n{row}\n")
    with pytest.raises(ValueError, match=r"line 2, column calls: .* is not a number from 0 on"):
        list(read_weighted(file, Problem(1, 1, 1)))
