"""Calls served by tuned kernels: right for any operands, in graphs, streams, threads, gradients and compilation."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import tilewright
from tilewright.kernels.config import Config
from tilewright.kernels.dispatch.direct import plan_of
from tilewright.kernels.dispatch.table import Standing, Table
from tilewright.kernels.families import FAMILIES
from tilewright.kernels.operands import current_device, torch_dtype
from tilewright.kernels.problem import LAYOUTS, Problem
from tilewright.kernels.result import Environment, Ratio

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(600),
    # Inductor of PyTorch 2.11 uses what is deprecated, captures an empty graph, and has advice on fp32.
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The CUDA Graph is empty:UserWarning"),
    pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores:UserWarning"),
]

OURS = sorted(name for name, family in FAMILIES.items() if family.axes)
SHAPES = (
    (1, 512, 1024),
    (16, 256, 512),
    (33, 264, 272),
    (128, 256, 256),
    (256, 256, 128),
    (197, 331, 259),
    (512, 1024, 256),
    (192, 256, 8192),
)
DTYPES = ("bf16", "fp16", "fp32")


def stream() -> torch.cuda.Stream:
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]


def standing(config: Config, ratio: float = 1.5) -> Standing:
    environment = Environment("", "", "", "", "", "")
    return Standing(config, 10.0, Ratio(ratio, ratio, ratio), None, True, environment, "test", datetime.now(UTC))


def tables() -> Table:
    """For each shape, layout and dtype, the first default of the family that was taken least until then."""
    device = current_device()
    winners: dict[Problem, tuple[Standing, ...]] = {}
    times: Counter[str] = Counter()
    for place, shape in enumerate(SHAPES):
        for layout in LAYOUTS:
            for dtype in DTYPES:
                problem = Problem(*shape, dtype, layout)
                fitting = [
                    config
                    for name in OURS
                    for config in FAMILIES[name].defaults(problem, device)[:1]
                    if config in FAMILIES[name].space(problem, device)
                ]
                if fitting:
                    taken = min(fitting, key=lambda config: times[config.family])
                    times[taken.family] += 1
                    winners[problem] = (standing(taken),)
        biased = Problem(*shape, epilogue="bias")
        configs = [config for name in OURS for config in FAMILIES[name].defaults(biased, device)[:1]]
        valid = [config for config in configs if config in FAMILIES[config.family].space(biased, device)]
        winners[biased] = (standing(valid[place % len(valid)]),)
    return Table(device, winners)


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[Table]:
    table = tables()
    tilewright.use_table(table, trust=True)
    yield table
    tilewright.use_table()


def test_every_family_serves_here(table: Table) -> None:
    """But the one that is for epilogues with an activation alone."""
    assert {one.config.family for each in table.winners.values() for one in each} == {*OURS} - {"half_by_half"}


def matrix(rows: int, columns: int, transposed: bool, *, dtype: torch.dtype, chance: random.Random) -> torch.Tensor:
    """Dense, with padded rows, from an odd address, or of no unit stride."""
    if transposed:
        return matrix(columns, rows, False, dtype=dtype, chance=chance).T
    form = chance.choice(("dense", "dense", "dense", "padded", "offset", "spread"))
    if form == "dense":
        return torch.randn((rows, columns), device="cuda").to(dtype)
    made = torch.randn((rows, 2 * columns + 16), device="cuda").to(dtype)
    if form == "spread":
        return made[:, : 2 * columns : 2]
    first = 1 if form == "offset" else 8
    return made[:, first : first + columns]


def assert_near(found: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
    """As near to the fp64 product as the library is, twice over, or within a rounding of the largest element.

    A sum in fp32 that is taken product after product rounds k times, a random walk; the library sums in parts.
    """
    exact = a.double() @ b.double()
    library = ((a @ b).double() - exact).abs().max()
    roundings = max(1.0, a.shape[-1] ** 0.5 / 2) if found.dtype is torch.float32 else 1.0
    slack = roundings * torch.finfo(found.dtype).eps * exact.abs().max()
    assert (found.double() - exact).abs().max() <= 2 * library + slack


def test_ten_thousand_random_calls_are_right() -> None:
    chance = random.Random(6)
    served = 0
    for _ in range(10_000):
        m, n, k = chance.choice(SHAPES)
        m = chance.choice((m, m, m, max(1, m - 1), m + 3))
        dtype = torch_dtype(chance.choice(DTYPES))
        a_t, b_t = chance.choice((False, True)), chance.choice((False, True))
        a = matrix(m, k, a_t, dtype=dtype, chance=chance)
        b = matrix(k, n, b_t, dtype=dtype, chance=chance)
        bias = torch.randn(n, device="cuda").to(dtype) if chance.random() < 0.2 else None
        activation = chance.choice((None, None, None, "relu"))
        found = tilewright.matmul(a, b, bias, activation)
        served += plan_of(a, b).serve is not None
        plain = a @ b if bias is None else a @ b + bias
        expected = functional.relu(plain) if activation else plain
        tolerance = 4 * torch.finfo(dtype).eps
        assert torch.allclose(
            found.float(), expected.float(), rtol=tolerance, atol=tolerance * k**0.5 * 4 + k * 2.0**-20
        )
    assert served > 1000


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_tuned_problem_is_served_by_its_kernel(
    table: Table, shape: tuple[int, int, int], layout: str, dtype: str
) -> None:
    problem = Problem(*shape, dtype, layout)
    if problem not in table.winners:
        pytest.skip("no family has a default for it")
    if problem.m == 1 and problem.a_transposed:
        pytest.skip("a single row that is stored as a column is no aligned row: torch serves it")
    made = torch_dtype(dtype)
    a = torch.randn(problem.shape[::2][::-1] if problem.a_transposed else problem.shape[::2], device="cuda").to(made)
    b = torch.randn((problem.n, problem.k) if problem.b_transposed else (problem.k, problem.n), device="cuda").to(made)
    a, b = a.T if problem.a_transposed else a, b.T if problem.b_transposed else b
    plan = plan_of(a, b)
    assert plan.serve is not None, plan.choice.why
    assert_near(tilewright.matmul(a, b), a, b)
    out = torch.full((problem.m, problem.n), float("nan"), dtype=made, device="cuda")
    assert tilewright.matmul(a, b, out=out) is out
    assert_near(out, a, b)
    assert "serves it (exact)" in tilewright.explain(a, b)


def layer(m: int = 16, n: int = 256, k: int = 512) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn((m, k), device="cuda", dtype=torch.bfloat16)
    return x, torch.randn((n, k), device="cuda", dtype=torch.bfloat16)


def test_a_bias_is_added_on_the_way_out() -> None:
    """By whatever family takes one, from whatever address the bias comes."""
    fused = 0
    for m, n, k in SHAPES:
        x, weight = layer(m, n, k)
        biases = torch.randn(n + 1, device="cuda", dtype=x.dtype)
        plan = plan_of(x, weight, transposed=True, bias=True)
        fused += plan.serve is not None
        for bias in (biases[:n], biases[1:]):
            exact = functional.linear(x.double(), weight.double(), bias.double())
            library = (functional.linear(x, weight, bias).double() - exact).abs().max()
            slack = torch.finfo(x.dtype).eps * exact.abs().max()
            for _ in range(2):  # planned, then by the way that was made
                found = tilewright.linear(x, weight, bias)
                assert (found.double() - exact).abs().max() <= 2 * library + slack
        assert torch.equal(
            tilewright.linear(x, weight, biases[:n], "relu"), functional.relu(tilewright.linear(x, weight, biases[:n]))
        )
    assert fused == len(SHAPES)


def test_a_way_is_only_for_calls_of_its_form() -> None:
    """After one call, others of the same shapes that differ in all else: strides, dtype, class, gradient, autocast."""
    x, weight = layer()
    right = tilewright.linear(x, weight)
    assert torch.equal(tilewright.linear(x, weight), right)
    turned = weight.T.contiguous().T
    assert_near(tilewright.linear(x, turned), x, weight.T)
    spread = torch.zeros((16, 1024), device="cuda", dtype=x.dtype)
    spread[:, ::2] = x
    assert_near(tilewright.linear(spread[:, ::2], weight), x, weight.T)
    assert tilewright.linear(x.half(), weight.half()).dtype is torch.float16
    wanting = x.clone().requires_grad_()
    assert tilewright.linear(wanting, weight).requires_grad
    with torch.no_grad():
        assert torch.equal(tilewright.linear(wanting, weight), right)
    with torch.inference_mode():
        assert torch.equal(tilewright.linear(x, weight), right)
    with torch.autocast("cuda", torch.float16):
        assert tilewright.linear(x, weight).dtype is torch.float16
    batch = torch.stack((x, x))
    assert torch.allclose(
        torch.vmap(lambda one: tilewright.linear(one, weight))(batch)[0].float(), right.float(), rtol=0.05, atol=0.5
    )
    assert torch.equal(tilewright.linear(x, weight), right)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="it takes two GPUs")
def test_two_gpus_in_one_process() -> None:
    """Each is served by what is loaded on it, whichever is current, from several threads."""
    cases = [layer(*shape) for shape in SHAPES[:4]]
    there = [(x.to("cuda:1"), weight.to("cuda:1")) for x, weight in cases]
    wrong: list[int] = []

    def work(number: int) -> None:
        for turn in range(200):
            with torch.cuda.device(turn % 2):
                for case in (cases, there)[number % 2]:
                    found = tilewright.linear(*case)
                    torch.cuda.synchronize(found.device)
                    near = functional.linear(*case).float()
                    if found.device != case[0].device or not torch.allclose(found.float(), near, rtol=0.05, atol=0.5):
                        wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert plan_of(*there[0], transposed=True).serve is not None


def test_three_dimensions_are_one_launch() -> None:
    x, weight = layer()
    found = tilewright.linear(x.view(4, 4, -1), weight)
    assert plan_of(x.view(4, 4, -1), weight, transposed=True).serve is not None
    assert found.shape == (4, 4, 256)
    assert_near(found.view(16, 256), x, weight.T)


def test_what_no_kernel_takes_is_as_in_torch() -> None:
    x, weight = layer()
    assert tilewright.linear(x[:0], weight).shape == (0, 256)
    wide = x.double()
    assert torch.equal(tilewright.matmul(wide, weight.double().T), wide @ weight.double().T)
    for wrong in (weight, weight.T.float(), weight.T.cpu()):
        with pytest.raises(RuntimeError) as ours:
            tilewright.matmul(x, wrong)
        with pytest.raises(RuntimeError) as theirs:
            torch.matmul(x, wrong)
        assert str(ours.value).splitlines()[0] == str(theirs.value).splitlines()[0]


def test_a_graph_replays_what_was_captured_even_beside_eager_calls() -> None:
    for m, n, k in SHAPES[:4]:
        x, weight = layer(m, n, k)
        tilewright.linear(x, weight)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = tilewright.linear(x, weight)
        other = stream()
        for turn in range(20):
            x.copy_(torch.randn_like(x))
            torch.cuda.synchronize()
            with torch.cuda.stream(other):
                beside = [tilewright.linear(x, weight) for _ in range(5)]
            graph.replay()
            torch.cuda.synchronize()
            assert torch.equal(found, beside[turn % 5])
            assert_near(found, x, weight.T)


def test_a_kernel_that_is_not_loaded_is_not_loaded_in_a_capture() -> None:
    x, weight = layer(16, 256, 512)
    a, b = x.T.contiguous().T, weight.contiguous().T
    tilewright.use_table(tables(), trust=True)
    tilewright.linear(*layer(128, 256, 256))  # the table is read
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = tilewright.matmul(a, b)
    graph.replay()
    assert_near(found, a, b)
    assert plan_of(a, b).serve is not None


@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.slow)])
def test_threads_and_streams_at_once(seconds: int) -> None:
    cases = [layer(*shape) for shape in SHAPES[:4]]
    expected = [tilewright.linear(*case) for case in cases]
    torch.cuda.synchronize()
    streams = [stream() for _ in range(2)]
    wrong: list[int] = []
    before, end = torch.cuda.memory_allocated(), time.monotonic() + seconds

    def work(number: int) -> None:
        with torch.cuda.stream(streams[number % 2]):
            while time.monotonic() < end:
                for case, right in zip(cases, expected, strict=True):
                    found = [tilewright.linear(*case) for _ in range(8)]
                    streams[number % 2].synchronize()
                    wrong.extend(number for one in found if not torch.equal(one, right))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.cuda.synchronize()
    assert not wrong
    assert torch.cuda.memory_allocated() - before < 16 << 20


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gradients_are_those_of_torch(dtype: torch.dtype) -> None:
    x = torch.randn((4, 32, 256), device="cuda", dtype=dtype, requires_grad=True)
    weight = torch.randn((256, 256), device="cuda", dtype=dtype, requires_grad=True)
    bias = torch.randn(256, device="cuda", dtype=dtype, requires_grad=True)
    gradient = torch.randn((4, 32, 256), device="cuda", dtype=dtype)
    ours = torch.autograd.grad(tilewright.linear(x, weight, bias), (x, weight, bias), gradient)
    theirs = torch.autograd.grad(functional.linear(x, weight, bias), (x, weight, bias), gradient)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one.float(), other.float(), rtol=2e-2, atol=0.25)
    served = [
        plan_of(x.detach(), weight.detach(), transposed=True),
        plan_of(gradient, weight.detach()),
        plan_of(gradient.view(-1, 256).T, x.detach().view(-1, 256)),
    ]
    assert all(plan.serve is not None for plan in served), [plan.choice.why for plan in served]


def test_opcheck() -> None:
    x = torch.randn((16, 512), device="cuda", dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn((256, 512), device="cuda", dtype=torch.bfloat16, requires_grad=True)
    bias = torch.randn(256, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    tilewright.matmul(x, weight.T)  # the operators come with the first call
    torch.library.opcheck(torch.ops.tilewright.matmul, (x, weight.detach().T.requires_grad_()), atol=0.5, rtol=5e-2)
    for case in ((x, weight, None), (x, weight, bias), (x.detach().view(4, 4, 512), weight, bias)):
        torch.library.opcheck(torch.ops.tilewright.linear, case, atol=0.5, rtol=5e-2)


def test_autocast_multiplies_in_its_dtype() -> None:
    x, weight = (one.float() for one in layer())
    with torch.autocast("cuda", torch.bfloat16):
        found = tilewright.linear(x, weight)
    assert found.dtype is torch.bfloat16
    assert torch.equal(found, tilewright.linear(x.bfloat16(), weight.bfloat16()))


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compilation_takes_the_operator_whole(mode: str) -> None:
    x, weight = layer()
    compiled = torch.compile(lambda x: tilewright.linear(x, weight, activation="silu") * 2, fullgraph=True, mode=mode)
    for _ in range(4):
        found = compiled(x)
    expected = functional.silu(tilewright.linear(x, weight).float()) * 2
    assert torch.allclose(found.float(), expected, rtol=2e-2, atol=0.1)


def test_shapes_may_be_dynamic_and_exported() -> None:
    class Layer(torch.nn.Module):
        def __init__(self, weight: torch.Tensor) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(weight, requires_grad=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return tilewright.linear(x, self.weight)

    x, weight = layer()
    model = Layer(weight)
    compiled = torch.compile(model, fullgraph=True, dynamic=True)
    for m in (16, 33, 128):
        x, _ = layer(m)
        assert_near(compiled(x), x, weight.T)
    exported = torch.export.export(model, (x,), dynamic_shapes={"x": {0: torch.export.Dim("m", min=2, max=4096)}})
    x, _ = layer(16)
    assert torch.equal(exported.module()(x), tilewright.linear(x, weight))
    assert any("tilewright" in str(node.target) for node in exported.graph.nodes)


@pytest.fixture(scope="module")
def llama() -> Iterator[Any]:
    """Two layers of a small Llama whose every product is tuned, at least for one m."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=1024, hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=256,
    )  # fmt: skip
    with torch.device("cuda"):
        model = transformers.LlamaForCausalLM(config).to(torch.bfloat16).eval()
    device = current_device()
    rows: dict[Problem, tuple[Standing, ...]] = {}
    for n, k in ((256, 256), (512, 256), (256, 512), (1024, 256)):
        for m in (1, 16, 32, 64):
            problem = Problem(m, n, k)
            rows[problem] = (standing(FAMILIES["tiled"].defaults(problem, device)[0]),)
    tilewright.use_table(Table(device, rows), trust=True)
    yield model
    tilewright.use_table(tables(), trust=True)


def test_a_llama_keeps_its_numbers(llama: Any) -> None:
    prompt = torch.randint(0, 1024, (1, 32), device="cuda")
    with torch.no_grad():
        plain = llama(prompt).logits.float()
        exact = llama.float()(prompt).logits
        llama.bfloat16()
        report = tilewright.optimize(llama, example_inputs={"input_ids": prompt}, rounds=2)
        assert len(report.replaced) + len(report.left) == 15
        report = tilewright.optimize(llama, {"input_ids": prompt, "use_cache": False}, rounds=6, captured=True)
        assert len(report.replaced) + len(report.left) == 15
        assert all(type(one) is nn.Linear for name, one in llama.named_modules() if name in report.left)
        report = tilewright.optimize(llama)
        assert len(report.replaced) == 15
        weight = llama.lm_head.weight
        assert plan_of(torch.zeros((1, 32, 256), device="cuda", dtype=weight.dtype), weight, transposed=True).serve
        ours = llama(prompt).logits.float()
        assert (ours - exact).abs().max() <= 2 * (plain - exact).abs().max()
        tokens = llama.generate(prompt, max_new_tokens=16, do_sample=False, pad_token_id=0)
        tilewright.restore(llama)
        expected = llama.generate(prompt, max_new_tokens=16, do_sample=False, pad_token_id=0)
    apart = (tokens != expected).nonzero()
    if len(apart):  # only where two tokens are as good as one another
        place = int(apart[0, 1])
        with torch.no_grad():
            there = llama(expected[:, :place]).logits[0, -1].float()
        assert abs(float(there[tokens[0, place]] - there[expected[0, place]])) < 0.05


def test_a_llama_trains_compiles_and_is_captured(llama: Any) -> None:
    prompt = torch.randint(0, 1024, (1, 32), device="cuda")
    llama(prompt, labels=prompt).loss.backward()
    expected = [parameter.grad.float() for parameter in llama.parameters()]
    llama.zero_grad()
    tilewright.optimize(llama)
    llama(prompt, labels=prompt).loss.backward()
    for parameter, gradient in zip(llama.parameters(), expected, strict=True):
        assert (parameter.grad.float() - gradient).abs().max() <= 0.1 * gradient.abs().max() + 1e-3
    llama.zero_grad()
    with torch.no_grad():
        eager = llama(prompt).logits
        compiled: Any = torch.compile(llama, fullgraph=True)
        assert torch.allclose(compiled(prompt).logits.float(), eager.float(), atol=0.05, rtol=0.05)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = llama(prompt, use_cache=False).logits
        graph.replay()
        assert torch.allclose(captured.float(), eager.float(), atol=0.05, rtol=0.05)
    tilewright.restore(llama)
