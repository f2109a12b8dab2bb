"""Whether two tunings agree with each other and with a timing program that shares no code with the tuner's.

    tilewright tune --shapes eight.csv --seed 1 --db one.db
    tilewright tune --shapes eight.csv --seed 2 --db two.db
    python -P benchmarks/independent.py one.db two.db --json independent.json

For each problem that both hold: the winners of both and `torch.mm`, captured in CUDA graphs over rotating random
operands, replayed in turn in a new random order each round, timed by CUDA events. There are several such sets of
graphs, by turns, with operands and cuBLAS's workspace allocated anew, for where these lie makes some percent of a
kernel that waits for memory. Of the tuner only the stored answers and the kernels' launches are used.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

from tilewright.kernels.config import Config
from tilewright.kernels.families import family
from tilewright.kernels.family import Call
from tilewright.kernels.operands import current_device
from tilewright.kernels.problem import DTYPES, Problem
from tilewright.kernels.scratch import Scratch
from tilewright.tuner.ratio import is_tie
from tilewright.tuner.store import open_store
from tilewright.tuner.store.query import best

Graphs = list[tuple[torch.cuda.CUDAGraph, int]]  # one a lane, each with its number of launches
Sets = list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]

LOAD_S: Final = 1.0
SETS: Final = 8  # of operands, at least, and eight times the L2: of less, some stays in it
RESAMPLES: Final = 2000


@dataclass(frozen=True, slots=True)
class Row:
    """Of one problem: what each tuning reported against cuBLAS, what was read here, and their winners' ratio.

    `times_us` are of cuBLAS and of the two winners, one a round; `by_allocation` are the ratios of each allocation.
    """

    problem: str
    graph_us: float
    winners: tuple[str, str]
    reported: tuple[float, float]
    read: tuple[float, float]
    read_low: tuple[float, float]
    read_high: tuple[float, float]
    first_over_second: float
    false_claim: bool
    by_allocation: tuple[tuple[float, float], ...]
    times_us: tuple[tuple[float, ...], ...]


def matrices(problem: Problem) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random A[m, k] and B[k, n] in the problem's layout, and room for D[m, n]."""
    dtype = getattr(torch, DTYPES[problem.dtype].storage)
    m, n, k = problem.shape
    a = (
        torch.randn(k, m, device="cuda").to(dtype).T
        if problem.a_transposed
        else torch.randn(m, k, device="cuda").to(dtype)
    )
    b = (
        torch.randn(n, k, device="cuda").to(dtype).T
        if problem.b_transposed
        else torch.randn(k, n, device="cuda").to(dtype)
    )
    return a, b, torch.empty(m, n, device="cuda", dtype=getattr(torch, DTYPES[problem.out_dtype].storage))


def bound(problem: Problem, config: Config, sets: Sequence[tuple[torch.Tensor, ...]]) -> list[Callable[[], object]]:
    device, scratch = current_device(), Scratch("cuda:0")
    kernel = family(config.family)
    return [kernel.bind(Call(problem, device, a, b, d, scratch), config) for a, b, d in sets]


def event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def graph_of(launches: Sequence[Callable[[], object]], graph_us: float) -> tuple[torch.cuda.CUDAGraph, int]:
    """A graph of about `graph_us`, a whole number of walks through the operands, and its launches."""
    for launch in launches:
        launch()
    torch.cuda.synchronize()
    begin, end = event(), event()
    begin.record()
    for launch in launches:
        launch()
    end.record()
    torch.cuda.synchronize()
    walks = max(1, math.ceil(graph_us / (begin.elapsed_time(end) * 1000)))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(walks):
            for launch in launches:
                launch()
    return graph, walks * len(launches)


def rounds_of(places: Sequence[Graphs], rounds: int) -> list[list[float]]:
    """us a launch: [lane][round], rounds at the places by turns. The device is under load before the first one."""
    begin, end = event(), event()
    begin.record()
    while True:
        for graph, _ in places[0]:
            graph.replay()
        end.record()
        torch.cuda.synchronize()
        if begin.elapsed_time(end) > 1000 * LOAD_S:
            break
    lanes = range(len(places[0]))
    marks: list[dict[int, tuple[torch.cuda.Event, torch.cuda.Event]]] = []
    for number in range(rounds):
        marks.append({})
        for lane in random.sample(lanes, len(lanes)):
            pair = event(), event()
            pair[0].record()
            places[number % len(places)][lane][0].replay()
            pair[1].record()
            marks[-1][lane] = pair
    torch.cuda.synchronize()
    return [
        [
            one[lane][0].elapsed_time(one[lane][1]) * 1000 / places[number % len(places)][lane][1]
            for number, one in enumerate(marks)
        ]
        for lane in lanes
    ]


def paired(reference: Sequence[float], own: Sequence[float]) -> tuple[float, float, float]:
    """The median of reference / own by rounds, with a 95% bootstrap interval."""
    ratios = [one / other for one, other in zip(reference, own, strict=True)]
    medians = sorted(statistics.median(random.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    return statistics.median(ratios), medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES)]


def made_anew(problem: Problem, configs: Sequence[Config], graph_us: float) -> tuple[Graphs, Sets]:
    """Graphs of `torch.mm` and of these configs, and the operands of their own that they need."""
    torch._C._cuda_clearCublasWorkspaces()
    first = matrices(problem)
    size = sum(one.numel() * one.element_size() for one in first)
    count = max(SETS, math.ceil(8 * torch.cuda.get_device_properties(0).L2_cache_size / size))
    sets = [first, *(matrices(problem) for _ in range(min(count, 64) - 1))]
    library: list[Callable[[], object]] = [partial(torch.mm, a, b, out=d) for a, b, d in sets]
    ours = [bound(problem, config, sets) for config in configs]
    return [graph_of(launches, graph_us) for launches in [library, *ours]], sets


def examine(problem: Problem, databases: tuple[Path, Path], asked: argparse.Namespace, graph_us: float) -> Row:
    answers = []
    for path in databases:
        with open_store(path, readonly=True) as store:
            answers.append(best(store, problem, near=False).winner)
    configs, count = [one.config for one in answers], asked.allocations
    made = [made_anew(problem, configs, graph_us) for _ in range(count)]
    times = rounds_of([graphs for graphs, _ in made], asked.rounds)
    by_allocation = [[paired(times[0][at::count], own[at::count])[0] for own in times[1:]] for at in range(count)]
    del made
    torch.cuda.empty_cache()
    read = [paired(times[0], own) for own in times[1:]]
    reported = [1.0 if one.ratio is None else one.ratio.median for one in answers]
    ahead = [one.ratio is not None and one.ratio.low > 1 and not is_tie(one.ratio) for one in answers]
    return Row(
        problem.key,
        graph_us,
        (str(answers[0].config), str(answers[1].config)),
        (reported[0], reported[1]),
        (read[0][0], read[1][0]),
        (read[0][1], read[1][1]),
        (read[0][2], read[1][2]),
        paired(times[2], times[1])[0],
        any(said and high < 1 for said, (_, _, high) in zip(ahead, read, strict=True)),
        tuple((one[0], one[1]) for one in by_allocation),
        tuple(tuple(round(one, 3) for one in lane) for lane in times),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("databases", nargs=2, type=Path)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--allocations", type=int, default=12, help="of the operands, by turns")
    parser.add_argument("--graph-us", type=float, nargs="+", default=[2000.0], help="work that is read as one")
    parser.add_argument("--only", nargs="+", default=[], metavar="MxNxK", help="of the problems")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with open_store(asked.databases[0], readonly=True) as one, open_store(asked.databases[1], readonly=True) as other:
        problems = [problem for problem in one.problems() if problem in set(other.problems())]
    wanted = [Problem.parse(shape).shape for shape in asked.only]
    problems = [problem for problem in problems if problem.shape in wanted or not wanted]
    databases = asked.databases[0], asked.databases[1]
    rows = [examine(problem, databases, asked, length) for problem in problems for length in asked.graph_us]
    print(
        "| problem | graph us | reported, 1st and 2nd | read, 1st and 2nd | by allocation | 1st / 2nd | false claim |",
        "| --- | ---: | --- | --- | --- | ---: | --- |",
        sep="\n",
    )
    for row in rows:
        read = [
            f"{m:.3f} [{lo:.3f}, {hi:.3f}]" for m, lo, hi in zip(row.read, row.read_low, row.read_high, strict=True)
        ]
        spread = ", ".join(f"{min(one):.3f} to {max(one):.3f}" for one in zip(*row.by_allocation, strict=True))
        reported = ", ".join(f"{one:.3f}" for one in row.reported)
        cells = (row.problem, f"{row.graph_us:.0f}", reported, ", ".join(read), spread, f"{row.first_over_second:.3f}")
        print(f"| {' | '.join(cells)} | {row.false_claim} |")
    if asked.json:
        document: list[dict[str, Any]] = [{name: getattr(row, name) for name in Row.__slots__} for row in rows]
        asked.json.write_text(json.dumps({"device": torch.cuda.get_device_name(), "rows": document}, indent=1) + "\n")


if __name__ == "__main__":
    main()
