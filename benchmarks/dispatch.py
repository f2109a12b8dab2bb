"""What a tuned call costs on the host, beside torch.mm and a plain Triton launch; and what it gains on the GPU in use.

python benchmarks/dispatch.py host
python benchmarks/dispatch.py race --table results/nvidia-h200/table.json --json results/nvidia-h200/dispatch.json
"""

from __future__ import annotations

import json
import math
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click
import torch
import triton

import tilewright
from tilewright.kernels.config import Config
from tilewright.kernels.dispatch.direct import plan_of
from tilewright.kernels.dispatch.table import Standing, Table
from tilewright.kernels.families.tiled import tiled_kernel
from tilewright.kernels.models import MODELS, problems_of
from tilewright.kernels.operands import current_device
from tilewright.kernels.problem import Problem
from tilewright.kernels.result import Environment, Ratio

CALLS: Final = 400  # between two synchronizations: fewer than the launch queue holds
SMALL: Final = Problem(16, 64, 64)
CONFIGS: Final = {
    "tiled": Config.of("tiled", block_m=16, block_n=32, block_k=32, group_m=1, num_warps=4, num_stages=2),
    "split_k": Config.of("split_k", block_m=16, block_n=32, block_k=64, num_warps=4, num_stages=2, split=1),
    "descriptor": Config.of(
        "descriptor", block_m=64, block_n=32, block_k=64, group_m=1, num_warps=4, num_stages=3, programs_per_sm=0
    ),
}
SET_BYTES: Final = 1 << 28  # of operands that are walked through, several times the L2


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


def served_by(config: Config) -> None:
    """A table that says so, whatever is faster."""
    tilewright.use_table(Table(current_device(), {SMALL: (standing(config),)}), trust=True)


@benchmark.command()
@click.option("--rounds", default=60, show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path))
def host(rounds: int, path: Path | None) -> None:
    """Host time of a call on small tensors, in turn: torch.mm, torch.empty, a plain Triton launch, ours by family."""
    torch.set_grad_enabled(False)
    x = torch.randn((SMALL.m, SMALL.k), device="cuda", dtype=torch.bfloat16)
    weight = torch.randn((SMALL.n, SMALL.k), device="cuda", dtype=torch.bfloat16)
    columns = weight.T

    def plain_triton() -> torch.Tensor:
        d = torch.empty((SMALL.m, SMALL.n), device="cuda", dtype=torch.bfloat16)
        strides = (*x.stride(), *columns.stride(), *d.stride())
        tiled_kernel[(SMALL.n // 32,)](
            x, columns, d, *SMALL.shape, 1, *strides, BLOCK_M=16, BLOCK_N=32, BLOCK_K=32, PRECISION="ieee",
            num_warps=4, num_stages=2,
        )  # fmt: skip
        return d

    calls: dict[str, Callable[[], object]] = {
        "torch.mm": lambda: torch.mm(x, columns),
        "torch.nn.functional.linear": lambda: torch.nn.functional.linear(x, weight),
        "torch.empty": lambda: torch.empty((SMALL.m, SMALL.n), device="cuda", dtype=torch.bfloat16),
        "plain Triton launch": plain_triton,
    }
    read: dict[str, list[float]] = {}
    for family, config in CONFIGS.items():
        served_by(config)
        plan = plan_of(x, columns)
        if plan.serve is None:
            raise click.ClickException(f"{family} does not serve {SMALL}: {plan.choice.why}")
        ours = {
            f"matmul, {family}": lambda: tilewright.matmul(x, columns),
            f"linear, {family}": lambda: tilewright.linear(x, weight),
        }
        assert_right(tilewright.matmul(x, columns), x, columns)
        for turn in range(rounds + 5):
            for name, call in {**calls, **ours}.items():
                taken = host_us(call)
                if turn >= 5:
                    read.setdefault(name, []).append(taken)
    tilewright.use_table()
    report_host(read)
    write(path, {"rounds_us": read})


def assert_right(found: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
    exact = a.double() @ b.double()
    worst = ((found.double() - exact).abs() / exact.abs().clamp(min=1)).max().item()
    if not worst < torch.finfo(found.dtype).eps:
        raise click.ClickException(f"the result is off by {worst:.3g} of its value")


def report_host(read: dict[str, list[float]]) -> None:
    medians = {name: statistics.median(times) for name, times in read.items()}
    for name, median in medians.items():
        beside_mm, beside_triton = median / medians["torch.mm"], median / medians["plain Triton launch"]
        click.echo(f"{name:28} {median:6.2f} us  {beside_mm:5.2f} of torch.mm  {beside_triton:5.2f} of plain Triton")


@benchmark.command()
@click.option("--table", type=click.Path(exists=True, path_type=Path), help="[default: the one that dispatch finds]")
@click.option("--trust", is_flag=True, help="Use results of another toolchain too.")
@click.option("--rounds", default=40, show_default=True)
@click.option("--model", "models", multiple=True, type=click.Choice(list(MODELS)), default=["llama-3.1-8b"])
@click.option("--batch", "batches", multiple=True, type=int, default=[1, 3, 4, 8, 16, 32, 64, 128, 512, 2048, 4096])
@click.option("--json", "path", type=click.Path(path_type=Path))
def race(
    table: Path | None, trust: bool, rounds: int, models: Sequence[str], batches: Sequence[int], path: Path | None
) -> None:
    """Device time of tilewright.matmul against torch.mm, captured, replayed in turn over rotating operands."""
    torch.set_grad_enabled(False)
    tilewright.use_table(table, trust=trust)
    like = Problem(1, 1, 1)
    problems = dict.fromkeys(problem for name in models for problem in problems_of(MODELS[name], tuple(batches), like))
    rows = [raced(problem, rounds) for problem in problems]
    ratios = [row["ratio"] for row in rows]
    geomean = math.exp(statistics.fmean(map(math.log, ratios)))
    served = sum(row["origin"] != "library" for row in rows)
    click.echo(
        f"{len(rows)} shapes, {served} by kernels: geomean {geomean:.4f}, least {min(ratios):.4f}, "
        f"below 0.99: {sum(ratio < 0.99 for ratio in ratios)}"
    )
    write(path, {"rows": rows, "geomean": geomean})


def raced(problem: Problem, rounds: int) -> dict[str, Any]:
    sets = max(2, min(64, SET_BYTES // problem.bytes_moved))
    operands = [
        (
            torch.randn((problem.m, problem.k), device="cuda", dtype=torch.bfloat16),
            torch.randn((problem.n, problem.k), device="cuda", dtype=torch.bfloat16).T,
        )
        for _ in range(sets)
    ]
    choice = plan_of(*operands[0]).choice
    graphs = [captured(call, operands) for call in (torch.mm, tilewright.matmul)]
    times: list[list[float]] = [[], []]
    for turn in range(rounds + 3):
        order = (0, 1) if turn % 2 else (1, 0)
        for which in order:
            taken = replay_us(graphs[which]) / sets
            if turn >= 3:
                times[which].append(taken)
    ratio = statistics.median(library / ours for library, ours in zip(*times, strict=True))
    click.echo(f"{problem!s:32} {choice.origin:8} {ratio:.4f}  {choice.config or ''}")
    return {
        "problem": problem.key, "origin": str(choice.origin), "config": str(choice.config or ""), "ratio": ratio,
        "library_us": times[0], "ours_us": times[1],
    }  # fmt: skip


def captured(call: Callable[..., torch.Tensor], operands: list[tuple[torch.Tensor, torch.Tensor]]) -> Any:
    for a, b in operands[:2]:
        call(a, b)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for a, b in operands:
            call(a, b)
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
