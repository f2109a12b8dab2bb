"""What a tuned call costs on the host, beside torch.mm and a plain Triton launch; and what it gains on the GPU in use.

python -P benchmarks/dispatch.py host
python -P benchmarks/dispatch.py race --table results/nvidia-h200/table.json --json results/nvidia-h200/dispatch.json
"""

from __future__ import annotations

import json
import math
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click
import torch
import triton

import tilewright
from tilewright.benchmarks.baselines import assert_right, baselines
from tilewright.kernels.config import Config
from tilewright.kernels.dispatch import direct
from tilewright.kernels.dispatch.direct import plan_of
from tilewright.kernels.dispatch.table import Standing, Table
from tilewright.kernels.models import MODELS, problems_of
from tilewright.kernels.operands import current_device
from tilewright.kernels.problem import Problem
from tilewright.kernels.result import Environment, Ratio

CALLS: Final = 400  # between two synchronizations: fewer than the launch queue holds
SMALL: Final = Problem(16, 64, 128)
CONFIGS: Final = {
    "tiled": Config.of("tiled", block_m=16, block_n=32, block_k=32, group_m=1, num_warps=4, num_stages=2),
    "split_k": Config.of("split_k", block_m=16, block_n=32, block_k=64, num_warps=4, num_stages=2, split=2),
    "swapped": Config.of("swapped", block_m=16, block_n=64, block_k=64, num_warps=4, num_stages=3, split=1),
    "descriptor": Config.of(
        "descriptor", block_m=64, block_n=32, block_k=64, group_m=1, num_warps=4, num_stages=3, programs_per_sm=0
    ),
    "warp_specialized": Config.of(
        "warp_specialized", block_m=64, block_n=64, block_k=64, group_m=1, num_stages=3, store_slices=1
    ),
    "mixed_tiles": Config.of(
        "mixed_tiles", block_m=128, block_n=128, block_k=64, group_m=1, num_stages=3, store_slices=1
    ),
    "library": Config.of("cublas"),
}
# For a family that has no config for a problem so small; the host does the same for any size.
LARGER: Final = {"mixed_tiles": Problem(128, 128, 128)}
FORMS: Final = ("plain", "bias", "padded")
PADDING: Final = 64  # elements between the rows of A
SET_BYTES: Final = 1 << 30  # of operands that are walked through: of a few times the L2 a part would stay in it
SETS: Final = (4, 64)  # of them, at the least and at the most
GRAPH_US: Final = 1000.0  # of launches that are read as one


@click.group()
def benchmark() -> None:
    """Times dispatch."""


def host_us(call: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(CALLS):
        call()
    taken = time.perf_counter() - begun
    torch.cuda.synchronize()
    return taken / CALLS * 1e6


def standing(config: Config) -> Standing:
    from datetime import UTC, datetime

    ratio = Ratio(2.0, 2.0, 2.0)
    return Standing(config, 5.0, ratio, None, False, Environment("", "", "", "", "", ""), "made up", datetime.now(UTC))


def served_by(config: Config, problem: Problem) -> None:
    """A table that says so, whatever is faster."""
    tilewright.use_table(Table(current_device(), {problem: (standing(config),)}), trust=True)


def operands(problem: Problem, padding: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn((problem.m, problem.k + padding), device="cuda", dtype=torch.bfloat16)[:, : problem.k]
    return x, torch.randn((problem.n, problem.k), device="cuda", dtype=torch.bfloat16)


@benchmark.command()
@click.option("--rounds", default=40, show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path))
def host(rounds: int, path: Path | None) -> None:
    """Host time of a call on small tensors, in turn: torch's, a plain Triton launch, ours by family."""
    torch.set_grad_enabled(False)
    found = {family: host_rounds(family, config, rounds) for family, config in CONFIGS.items()}
    tilewright.use_table()
    for family, read in found.items():
        report_host(family, read)
    write(path, {"rounds_us": found})


def host_rounds(family: str, config: Config, rounds: int) -> dict[str, list[float]]:
    problem = LARGER.get(family, SMALL)
    x, weight = operands(problem)
    columns = weight.T
    served_by(config, problem)
    plan = plan_of(x, columns)
    if (plan.serve is None) != (family == "library"):
        raise click.ClickException(f"{family} does not serve {problem}: {plan.choice.why}")
    assert_right(tilewright.matmul(x, columns), x, columns)
    layer = tilewright.Linear(problem.k, problem.n, bias=False, device="cuda", dtype=torch.bfloat16)
    calls: dict[str, Callable[[], object]] = {
        **baselines(problem, x, weight),
        "tilewright.matmul": lambda: tilewright.matmul(x, columns),
        "tilewright.linear": lambda: tilewright.linear(x, weight),
        "tilewright.Linear": lambda: layer(x),
    }
    read: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 5):
        for name, call in calls.items():
            taken = host_us(call)
            if turn >= 5:
                read[name].append(taken)
    return read


@benchmark.command()
@click.option("--json", "path", type=click.Path(path_type=Path))
def parts(path: Path | None) -> None:
    """Host time of a call's parts, by family: what each takes alone, in us."""
    torch.set_grad_enabled(False)
    found = {}
    for family, config in CONFIGS.items():
        timed = {name: statistics.median(host_us(call) for _ in range(25)) for name, call in parts_of(family, config)}
        click.echo(f"{family:17} " + ", ".join(f"{name} {taken:.2f}" for name, taken in timed.items()))
        found[family] = timed
    tilewright.use_table()
    write(path, {"parts_us": found})


def parts_of(family: str, config: Config) -> Iterator[tuple[str, Callable[[], object]]]:
    problem = LARGER.get(family, SMALL)
    x, weight = operands(problem)
    served_by(config, problem)
    found = tilewright.linear(x, weight)
    shapes = (x.shape, weight.shape)
    way, like = direct.linear_ways[shapes][0], (tuple(found.shape), found.stride())
    guards: Any = torch._C._dynamo.guards
    yield "nothing", lambda: None
    yield "both shapes, looked up", lambda: direct.linear_ways.get((x.shape, weight.shape))
    yield "the check of the form", lambda: way.fits(x, weight)
    yield "the product's memory", lambda: guards._empty_strided_cuda(*like, x.dtype)
    yield "empty_like", lambda: torch.empty_like(found)
    yield "three addresses", lambda: (x.data_ptr(), weight.data_ptr(), found.data_ptr())
    yield "the stream", lambda: torch._C._cuda_getCurrentRawStream(0)
    if family != "library":
        yield "served, without memory", lambda: way.serve(x, weight, found)
    yield "served", lambda: way.serve(x, weight)
    yield "tilewright.linear", lambda: tilewright.linear(x, weight)


def report_host(family: str, read: dict[str, list[float]]) -> None:
    """Each beside torch.mm and beside the plain launch, paired round by round."""
    for name, times in read.items():
        beside = [
            statistics.median(one / other for one, other in zip(times, read[base], strict=True))
            for base in ("torch.mm", "plain Triton launch", "torch.nn.Linear")
        ]
        click.echo(
            f"{family:17} {name:27} {statistics.median(times):6.2f} us  {beside[0]:5.2f} of torch.mm  "
            f"{beside[1]:5.2f} of plain Triton  {beside[2]:5.2f} of nn.Linear"
        )


@benchmark.command()
@click.option("--table", type=click.Path(exists=True, path_type=Path), help="[default: the one that dispatch finds]")
@click.option("--trust", is_flag=True, help="Use results of another toolchain too.")
@click.option("--rounds", default=40, show_default=True)
@click.option("--model", "models", multiple=True, type=click.Choice(list(MODELS)), default=["llama-3.1-8b"])
@click.option("--batch", "batches", multiple=True, type=int, default=[1, 3, 4, 8, 16, 32, 64, 128, 512, 2048, 4096])
@click.option("--form", type=click.Choice(FORMS), default="plain", show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path))
def race(
    table: Path | None, trust: bool, rounds: int, models: Sequence[str], batches: Sequence[int], form: str,
    path: Path | None,
) -> None:  # fmt: skip
    """Device time of tilewright.matmul against torch.mm, captured, replayed in turn over rotating operands; or of
    linear with a bias against torch's; or of matmul with rows of A that lie further apart than they are long."""
    torch.set_grad_enabled(False)
    tilewright.use_table(table, trust=trust)
    like = Problem(1, 1, 1)
    problems = dict.fromkeys(problem for name in models for problem in problems_of(MODELS[name], tuple(batches), like))
    rows: list[dict[str, Any]] = []
    for problem in problems:
        rows.append(raced(problem, rounds, form))
        ratios = [row["ratio"] for row in rows]
        geomean = math.exp(statistics.fmean(map(math.log, ratios)))
        write(path, {"form": form, "rows": rows, "geomean": geomean})
    served = sum(row["origin"] != "library" for row in rows)
    click.echo(
        f"{len(rows)} shapes, {served} by kernels: geomean {geomean:.4f}, least {min(ratios):.4f}, "
        f"below 0.99: {sum(ratio < 0.99 for ratio in ratios)}"
    )


def raced(problem: Problem, rounds: int, form: str) -> dict[str, Any]:
    least, most = SETS
    sets = max(least, min(most, SET_BYTES // problem.bytes_moved))
    given = [operands(problem, PADDING if form == "padded" else 0) for _ in range(sets)]
    calls: tuple[Callable[..., torch.Tensor], ...] = (torch.mm, tilewright.matmul)
    choice = plan_of(given[0][0], given[0][1].T).choice
    passed: list[tuple[torch.Tensor, ...]] = [(x, weight.T) for x, weight in given]
    if form == "bias":
        calls = (torch.nn.functional.linear, tilewright.linear)
        choice = plan_of(*given[0], transposed=True, bias=True).choice
        passed = [(*pair, torch.randn(problem.n, device="cuda", dtype=torch.bfloat16)) for pair in given]
    graphs = [captured(call, passed) for call in calls]
    times: list[list[float]] = [[], []]
    for turn in range(rounds + 3):
        order = (0, 1) if turn % 2 else (1, 0)
        for which in order:
            graph, launches = graphs[which]
            taken = replay_us(graph) / launches
            if turn >= 3:
                times[which].append(taken)
    ratio = statistics.median(library / ours for library, ours in zip(*times, strict=True))
    click.echo(f"{problem!s:32} {choice.origin:8} {ratio:.4f}  {choice.config or ''}")
    return {
        "problem": problem.key, "origin": str(choice.origin), "config": str(choice.config or ""), "ratio": ratio,
        "library_us": times[0], "ours_us": times[1],
    }  # fmt: skip


def captured(call: Callable[..., torch.Tensor], passed: Sequence[tuple[torch.Tensor, ...]]) -> tuple[Any, int]:
    """A graph of whole walks through the operands, and its launches."""
    for each in passed[:2]:
        call(*each)
    torch.cuda.synchronize()
    walk = graph_of(call, passed)
    replay_us(walk)
    walks = math.ceil(GRAPH_US / replay_us(walk))
    return (walk if walks == 1 else graph_of(call, [*passed] * walks)), walks * len(passed)


def graph_of(call: Callable[..., torch.Tensor], passed: Sequence[tuple[torch.Tensor, ...]]) -> Any:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for each in passed:
            call(*each)
    return graph


def replay_us(graph: Any) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    begin.record()
    graph.replay()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) * 1e3


def write(path: Path | None, found: dict[str, Any]) -> None:
    if path is None:
        return
    device = torch.cuda.get_device_name()
    made = {
        "device": device,
        "torch": torch.__version__,
        "triton": triton.__version__,
        "python": platform.python_version(),
    }
    path.write_text(json.dumps({**made, **found}, indent=1) + "\n")


if __name__ == "__main__":
    benchmark()
