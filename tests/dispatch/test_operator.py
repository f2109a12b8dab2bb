"""The operators beneath a call: what they keep for gradients, what torch counts, and who may look on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import tilewright
from tilewright.kernels.dispatch import direct, operator


def kept(call: Callable[..., Tensor], *operands: Tensor | None) -> list[tuple[int, ...]]:
    """Shapes of what a call keeps for its gradients."""
    shapes: list[tuple[int, ...]] = []

    def pack(saved: Tensor) -> Tensor:
        shapes.append(tuple(saved.shape))
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        call(*operands)
    return shapes


@pytest.mark.parametrize("wanted", [(True, True), (True, False), (False, True)])
def test_no_more_is_kept_than_the_gradients_take(wanted: tuple[bool, bool]) -> None:
    x, weight = torch.randn(3, 8, requires_grad=wanted[0]), torch.randn(5, 8, requires_grad=wanted[1])
    expected = [shape for shape, other in (((3, 8), wanted[1]), ((5, 8), wanted[0])) if other]
    assert kept(operator.linear, x, weight, None) == expected
    assert kept(operator.matmul, x, weight.detach().T.clone().requires_grad_(wanted[1])) == [
        shape if shape == (3, 8) else (8, 5) for shape in expected
    ]


def test_what_goes_into_a_frozen_layer_may_be_overwritten() -> None:
    """As of torch: its gradient takes the weight alone, and that of a bias nothing."""
    x, weight, bias = torch.randn(3, 8, requires_grad=True), torch.randn(5, 8), torch.randn(5, requires_grad=True)
    assert not kept(operator.linear, x.detach(), weight, bias)
    gradients = []
    for call in (operator.linear, functional.linear):
        inner = x * 1
        d = call(inner, weight, bias)
        inner.relu_()
        gradients.append(torch.autograd.grad(d.square().sum(), (x, bias)))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_torch_counts_the_work() -> None:
    operator.count_flops()
    with FlopCounterMode(display=False) as counter:
        operator.linear(torch.ones(2, 3, 8), torch.ones(5, 8), torch.ones(5))
        operator.matmul(torch.ones(2, 3, 8), torch.ones(8, 5))
    assert counter.get_total_flops() == 2 * 2 * (2 * 3 * 5 * 8)


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Tensor, Tensor]]:
    """x and weight whose calls have ways that must not be gone."""
    tilewright.use_table(None)
    x, weight = torch.randn(3, 8), torch.randn(5, 8)
    for _ in range(2):
        tilewright.linear(x, weight)
        tilewright.matmul(x, weight.T)

    def serve(*operands: Tensor) -> Tensor:
        raise AssertionError("served past torch")

    for known in (direct.ways, direct.linear_ways):
        assert known
        for shapes in known:
            known[shapes] = tuple(way._replace(serve=serve) for way in known[shapes])
    with pytest.raises(AssertionError, match="served past torch"):
        tilewright.linear(x, weight)
    yield x, weight
    tilewright.use_table(None)


def test_a_tracer_sees_the_call(unseen: tuple[Tensor, Tensor]) -> None:
    x, weight = unseen
    other = torch.randn(3, 8)
    for call in (lambda x: tilewright.linear(x, weight), lambda x: tilewright.matmul(x, weight.T)):
        torch.testing.assert_close(make_fx(call)(x)(other), other @ weight.T)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own, of tangents
def test_gradients_are_carried_forward(unseen: tuple[Tensor, Tensor]) -> None:
    x, weight = unseen
    tangent = torch.randn(3, 8)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, tangent)  # type: ignore[no-untyped-call]
        for d in (tilewright.linear(dual, weight), tilewright.matmul(dual, weight.T)):
            found: Any = forward_ad.unpack_dual(d)  # type: ignore[no-untyped-call]
            torch.testing.assert_close(found.tangent, tangent @ weight.T)


def test_what_is_known_of_a_parameter_is_not_of_the_next_one_with_its_id() -> None:
    tilewright.use_table(None)
    layer, x = tilewright.Linear(8, 16, bias=False), torch.randn(2, 8)
    for make in (
        lambda: setattr(layer, "weight", torch.nn.Parameter(torch.randn(16, 8))),
        lambda: tilewright.Linear(8, 16),
        lambda: tilewright.optimize(torch.nn.Linear(8, 16)),
    ):
        for _ in range(2):
            layer(x)
        assert direct.by_library == {(x.shape, id(layer.weight))}
        make()
        assert not direct.by_library


def test_parameters_may_be_swapped() -> None:
    """As `load_state_dict` does where it is told to: not those with weak references."""
    tilewright.use_table(None)
    layer, x = tilewright.Linear(8, 16), torch.randn(2, 8)
    for _ in range(3):
        layer(x)
    new = {name: torch.randn_like(value) for name, value in layer.state_dict().items()}
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        layer.load_state_dict(new)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    assert torch.equal(layer(x), functional.linear(x, new["weight"], new["bias"]))


def test_memory_that_a_kernel_does_not_take_says_nothing_of_other_memory() -> None:
    tilewright.use_table(None)
    layer, x = tilewright.Linear(8, 16, bias=False), torch.randn(2, 8)
    spread, odd = torch.randn(2, 16)[:, ::2], torch.randn(17)[1:].view(2, 8)
    for given in (spread, odd):
        for _ in range(3):
            assert torch.equal(layer(given), functional.linear(given, layer.weight))
        assert not direct.by_library
    assert direct._key(odd, layer.weight) != direct._key(x, layer.weight)
    assert not any(way.fits(odd, layer.weight) for way in direct.linear_ways[odd.shape, layer.weight.shape])
