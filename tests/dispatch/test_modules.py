"""A model whose linear layers were replaced is the same model: numbers, keys, hooks, ties, copies."""

from __future__ import annotations

import copy
import math
import pickle
import threading
from collections.abc import Sequence
from typing import Any, Self

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune

import tilewright
from tilewright.kernels.dispatch.direct import by_library
from tilewright.kernels.dispatch.modules import Layer
from tilewright.kernels.dispatch.optimize import _losers
from tilewright.kernels.dispatch.proof import Duel
from tilewright.kernels.result import Ratio


class Model(nn.Module):
    """Two tied layers, one of a class of its own, one whose forward somebody replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(8, 16)
        self.down = nn.Linear(16, 8, bias=False)
        self.tied = nn.Linear(16, 8, bias=False)
        self.tied.weight = self.down.weight
        self.own = Own(8, 8)
        self.hidden = nn.Linear(8, 8)
        self.hidden.forward = lambda input: input  # type: ignore[method-assign]

    def forward(self, x: Tensor) -> Tensor:
        inner = self.up(x)
        out: Tensor = self.hidden(self.own(self.down(inner) + self.tied(inner)))
        return out


class Own(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * 2


def test_a_model_stays_what_it_was_and_is_restored() -> None:
    model, x, seen = Model(), torch.randn(4, 8), []
    model.up.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    expected, keys, objects = model(x), list(model.state_dict()), list(model.modules())
    report = tilewright.optimize(model)
    assert report.replaced == ["up", "down", "tied"]
    assert "it is a Own, which may do more" in report.left["own"]
    assert "forward was replaced" in report.left["hidden"]
    assert "3 linear layers replaced, 2 left" in str(report)
    assert type(model.up) is tilewright.Linear
    assert torch.equal(model(x), expected)
    assert len(seen) == 2
    assert list(model.state_dict()) == keys
    assert list(model.modules()) == objects
    assert model.tied.weight is model.down.weight
    assert tilewright.optimize(model).replaced == ["up", "down", "tied"]
    assert type(tilewright.restore(model).up) is nn.Linear
    assert torch.equal(model(x), expected)


def test_a_replaced_layer_is_copied_pickled_loaded_and_built_without_memory() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4)).to(torch.bfloat16)
    x = torch.randn(3, 8, dtype=torch.bfloat16)
    tilewright.optimize(model)
    expected = model(x)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(other[0]) is tilewright.Linear
        assert torch.equal(other(x), expected)
    with torch.device("meta"):
        empty = nn.Sequential(tilewright.Linear(8, 16), nn.GELU(), nn.Linear(16, 4)).to(torch.bfloat16)
    tilewright.optimize(empty)
    assert empty(x.to("meta")).shape == (3, 4)
    empty = empty.to_empty(device="cpu")
    empty.load_state_dict(model.state_dict())
    assert torch.equal(empty(x), expected)


def test_what_kernels_do_not_take_is_left() -> None:
    report = tilewright.optimize(nn.Sequential(nn.Linear(4, 4).double()))
    assert report.left == {"0": "kernels do not take torch.float64"}


def test_what_is_no_model_is_told() -> None:
    with pytest.raises(ValueError, match=r"model is a int: give a torch\.nn\.Module"):
        tilewright.optimize(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("rounds", [0, -1, 2.5])
def test_rounds_are_whole(rounds: Any) -> None:
    with pytest.raises(ValueError, match=f"rounds is {rounds}"):
        tilewright.optimize(nn.Linear(4, 4), torch.ones(2, 4), rounds=rounds)


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # of torch's compiler
def test_a_compiled_model_is_not_proved() -> None:
    model, x = nn.Sequential(nn.Linear(8, 8)), torch.randn(2, 8)
    in_place = copy.deepcopy(model)
    in_place.compile()
    for compiled in (torch.compile(model), in_place):
        with pytest.raises(ValueError, match="the model is compiled: give optimize the module itself"):
            tilewright.optimize(compiled, x)  # type: ignore[arg-type]
        assert not any(type(one) is tilewright.Linear for one in compiled.modules())  # type: ignore[attr-defined]


def test_one_of_several_processes_proves_nothing_by_its_own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = nn.Sequential(nn.Linear(8, 8)), torch.randn(2, 8)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(ValueError, match=r"2 processes run together, .* call optimize before init_process_group"):
        tilewright.optimize(model, x)
    assert tilewright.optimize(model).replaced == ["0"]


def test_each_module_keeps_its_own_mode() -> None:
    for frozen in (True, False):
        model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout()).train(frozen)
        model[1].train(not frozen)
        tilewright.optimize(model, torch.randn(6, 4), rounds=1)
        assert [one.training for one in model.modules()] == [frozen, frozen, not frozen, frozen]


class Merging(nn.Linear):
    """Does something in `train`, as adapters do that are merged into the weight for inference."""

    merged = False

    def train(self, mode: bool = True) -> Self:
        self.merged = not mode
        return super().train(mode)


def test_what_a_module_does_in_train_is_undone() -> None:
    model = nn.Sequential(nn.Linear(4, 4), Merging(4, 4), nn.BatchNorm1d(4)).train()
    model[2].eval()
    tilewright.optimize(model, torch.randn(6, 4), rounds=1)
    assert not model[1].merged
    assert [one.training for one in model.modules()] == [True, True, True, False]


class Failing(nn.Module):
    """Raises at one of its calls."""

    def __init__(self, at: int, error: type[BaseException]) -> None:
        super().__init__()
        self.first, self.second, self.left, self.error = nn.Linear(4, 4), nn.Linear(4, 4), at, error

    def forward(self, x: Tensor) -> Tensor:
        self.left -= 1
        if self.left == 0:
            raise self.error("now")
        found: Tensor = self.second(self.first(x))
        return found


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("at", range(2, 12))
def test_a_model_that_raises_is_as_it_was(at: int, error: type[BaseException]) -> None:
    """The first call is the copy's in fp32, which has a count of its own."""
    model = Failing(at, error)
    before = [type(one) for one in model.modules()]
    with pytest.raises(error, match="now"):
        tilewright.optimize(model, torch.ones(2, 4), rounds=2)
    assert [type(one) for one in model.modules()] == before
    assert all(one.training for one in model.modules())
    with pytest.raises(ValueError, match="example_inputs is a int: give a tensor, a tuple"):
        tilewright.optimize(model, 3)
    assert model.training


class Guarded(nn.Module):
    """Cannot be copied, and calls its layer by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.lock = nn.Linear(4, 4), threading.Lock()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(input=x)
        return found


@pytest.mark.parametrize("captured", [False, True])
def test_any_model_is_optimized_on_any_machine(captured: bool) -> None:
    captured = captured and not torch.cuda.is_available()
    report = tilewright.optimize(Guarded(), torch.ones(2, 4), rounds=1, captured=captured)
    assert "there is no copy in fp32 that takes these inputs: cannot pickle" in report.notes[1]
    assert sorted([*report.replaced, *report.left]) == ["layer"]


@pytest.mark.parametrize("form", ["tensor", "tuple", "dict"])
def test_a_model_is_run_both_ways_and_told_of(form: str) -> None:
    model, x = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 8)), torch.randn(6, 8)
    expected = model(x)
    inputs = {"tensor": x, "tuple": (x,), "dict": {"input": x}}[form]
    report = tilewright.optimize(model, inputs, rounds=2)
    assert sorted([*report.replaced, *report.left]) == ["0", "1"]
    assert all("does not pay" in reason for reason in report.left.values())
    assert [type(layer) for layer in model] == [
        tilewright.Linear if name in report.replaced else nn.Linear for name in ("0", "1")
    ]
    assert "deviation of the outputs from fp32: 0 before, 0 after" in report.notes[1]
    assert model.training
    assert torch.equal(model(x), expected)


def test_what_does_not_surely_pay_is_off() -> None:
    """Groups that win, lose, and stay open alone: the open ones are judged together."""
    groups = [[Layer(str(place), tilewright.Linear(8, 8))] for place in range(4)]
    times = {"0": 0.9, "1": 1.1, "2": 1.0, "3": 1.0}

    def compare(layers: Sequence[Layer]) -> Duel:
        mean = sum(times[layer.name] for layer in layers) / len(layers)
        noise = [0.02 * (-1) ** turn for turn in range(12)]
        return Duel(tuple(1.0 for _ in noise), tuple(mean + each for each in noise))

    lost = {layer.name: found.ratio for layers, found in _losers(groups, compare) for layer in layers}
    assert list(lost) == ["1", "2", "3"]
    assert lost["1"].high < 1 < lost["2"].high
    assert [type(group[0].module) for group in groups] == [tilewright.Linear, *[nn.Linear] * 3]
    times.update({"2": 0.95, "3": 0.95})
    assert [layer.name for layers, _ in _losers(groups, compare) for layer in layers] == ["1"]


def test_a_duel_is_only_decided_by_an_interval() -> None:
    assert Duel((1.0,) * 5, (0.5,) * 5).ratio == Ratio(2.0, 0.0, math.inf)
    surely = Duel((1.0,) * 9, (0.9, 0.8, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 2.0))
    assert surely.pays
    assert surely.ratio == Ratio(2.0, 1 / 0.9, 2.0)
    assert Duel((1.0,) * 9, (0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 2.0, 2.0)).is_open


def test_a_layer_of_the_library_looks_no_further_until_it_is_moved() -> None:
    """On a CPU all are; what is served so is right for another dtype, a pruned weight and a gradient too."""
    layer, x = tilewright.Linear(8, 16), torch.randn(5, 8)
    for _ in range(2):
        layer(x)
    assert (x.shape, id(layer.weight)) in by_library
    assert torch.equal(layer(x), functional.linear(x, layer.weight, layer.bias))
    assert layer(x).requires_grad
    layer.double()
    assert (x.shape, id(layer.weight)) not in by_library
    assert layer(x.double()).dtype is torch.float64
    layer.float()
    prune.l1_unstructured(layer, "weight", amount=0.5)  # type: ignore[no-untyped-call]
    assert (layer.weight == 0).sum() == 64
    assert torch.equal(layer(x), functional.linear(x, layer.weight, layer.bias))
    compiled = torch.compile(tilewright.Linear(8, 16), fullgraph=True, backend="eager")
    assert compiled(x).shape == (5, 16)


def test_training_goes_on() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    twin = copy.deepcopy(model)
    tilewright.optimize(model)
    x, y = torch.randn(32, 8), torch.randn(32, 1)
    for one in (model, twin):
        optimizer = torch.optim.SGD(one.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            (one(x) - y).square().mean().backward()
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
