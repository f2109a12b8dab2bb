"""Whether a race keeps the confidence that it claims, with the noise that a device really shows.

    python -P benchmarks/race_simulation.py record --out results/nvidia-h200/noise.csv.gz
    python -P benchmarks/race_simulation.py simulate results/nvidia-h200/noise.csv.gz

`record` races the library against itself, in as many lanes as a real race has: whoever seems to be ahead is noise.
`simulate` makes races of what was recorded: rounds that followed one another, from anywhere in the recording, each lane
made faster or slower by a known factor. It counts how often the race was wrong and what it cost.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tilewright.kernels.problem import Problem
from tilewright.tuner.evaluate.regime import REGIMES
from tilewright.tuner.ratio import is_ahead
from tilewright.tuner.referee import BLOCK, Standing, Verdict, race_ratio, run_race, standing
from tilewright.tuner.trial import Ratio

LANES: Final = 8
# What is recorded by default: rounds in each regime, and of which problems, from memory-bound to power-bound.
ROUNDS: Final = {"interleaved": 300, "burst": 60, "sustained": 36}
PROBLEMS: Final = {
    "interleaved": ("1x4096x4096", "16x6144x4096", "64x4096x14336", "512x4096x4096", "4096x4096x4096"),
    "burst": ("16x6144x4096", "4096x4096x4096"),
    "sustained": ("4096x4096x4096",),
}
# The true speeds of the lanes against the reference, which is the first.
SCENARIOS: Final = {
    "all equal": (1.0,) * LANES,
    "one ahead by 0.3%": (1.0, 1.003, *(1.0,) * (LANES - 2)),
    "a usual final": (1.0, 1.02, 1.015, 1.0, 0.98, 0.96, 0.93, 0.85),
}


@dataclass(frozen=True, slots=True)
class Trace:
    """One kernel against itself: for each lane one time a round, in us."""

    problem: str
    regime: str
    lanes: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one simulated race ended: against the truth, and at what cost in readings of a lane."""

    found: Standing
    ratios: tuple[Ratio, ...]
    dropped_best: bool
    regret: float
    readings: int


def write_noise(path: Path, traces: Sequence[Trace]) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("problem", "regime", "lane", "times_us"))
    for trace in traces:
        for number, times in enumerate(trace.lanes):
            writer.writerow((trace.problem, trace.regime, number, " ".join(f"{time:.6g}" for time in times)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(out.getvalue().encode(), mtime=0))


def read_noise(path: Path) -> list[Trace]:
    lanes: defaultdict[tuple[str, str], list[tuple[float, ...]]] = defaultdict(list)
    for row in csv.DictReader(io.StringIO(gzip.decompress(path.read_bytes()).decode())):
        lanes[row["problem"], row["regime"]].append(tuple(float(time) for time in row["times_us"].split()))
    return [Trace(*key, tuple(found)) for key, found in lanes.items()]


def simulate(trace: Trace, speeds: Sequence[float], rounds: int, chance: random.Random) -> Outcome:
    """One race of as many of these lanes as the trace has, of no more rounds than were recorded."""
    speeds = speeds[: len(trace.lanes)]
    chosen = chance.sample(trace.lanes, len(speeds))
    length = len(chosen[0]) // 2 * 2
    rounds = min(rounds, length)
    at = chance.randrange(0, length, 2)  # the second round of a pair is run in the reverse order of the first
    read = 0

    def rounds_of(running: Sequence[int], count: int) -> Iterator[list[float]]:
        nonlocal read
        for _ in range(count):
            yield [chosen[lane][(at + read) % length] / speeds[lane] for lane in running]
            read += 1

    times = run_race(lambda running, count: list(rounds_of(running, count)), len(speeds), rounds, lambda: False)
    found = standing(times)
    best = max(speeds)
    gone = [lane for lane in range(len(speeds)) if lane not in (found.leader, *found.level)]
    return Outcome(
        found,
        tuple(race_ratio(lane, times[0], len(times)) for lane in times),
        all(speeds[lane] < best for lane in (found.leader, *found.level)) and bool(gone),
        1 - speeds[found.leader] / best,
        sum(map(len, times)),
    )


def summary(trace: Trace, speeds: Sequence[float], races: int, rounds: int = 80, seed: int = 0) -> dict[str, float]:
    """Shares of `races`: those that ended wrongly, those that ended with a verdict, and what they cost of the most."""
    chance = random.Random(seed)
    ended = [simulate(trace, speeds, rounds, chance) for _ in range(races)]
    true = speeds[: len(trace.lanes)]

    def share(count: int) -> float:
        return count / races

    return {
        "best dropped": share(sum(one.dropped_best for one in ended)),
        "false claim": share(sum(_claims_falsely(one, true) for one in ended)),
        "not covered": share(sum(not _covered(one, true) for one in ended)),
        "decided": share(sum(one.found.verdict is not Verdict.UNDECIDED for one in ended)),
        "worst regret": max(one.regret for one in ended),
        "cost": sum(one.readings for one in ended) / (races * rounds * len(true)),
    }


def _claims_falsely(one: Outcome, speeds: Sequence[float]) -> bool:
    """Whether the leader is called faster than the reference and is not."""
    return is_ahead(one.ratios[one.found.leader]) and speeds[one.found.leader] <= 1


def _covered(one: Outcome, speeds: Sequence[float]) -> bool:
    return all(ratio.low <= speed <= ratio.high for ratio, speed in zip(one.ratios[1:], speeds[1:], strict=True))


def record(where: str, regimes: Sequence[str], problems: Sequence[str], rounds: int) -> Iterator[Trace]:
    """Traces of the library against itself on a device, `0` for the first GPU or `cpu`."""
    from tilewright.kernels.config import Config
    from tilewright.tuner.evaluate.server import Server

    for regime in regimes:
        server = Server(where, 0, regime)
        bench = server.bench
        for shape in problems or PROBLEMS[regime]:
            problem = Problem.parse(shape)
            prepared = bench.prepare(problem)
            if prepared.library is None:
                raise ValueError(f"no library computes {problem} on {server.device.name}: name another problem")
            library: Config = prepared.library
            read = bench.lanes(prepared, [library] * LANES)
            blocks = [read(range(LANES), BLOCK) for _ in range((rounds or ROUNDS[regime]) // BLOCK)]
            by_round = [one for block in blocks for one in block]
            yield Trace(problem.key, regime, tuple(zip(*by_round, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    recording = commands.add_parser("record")
    recording.add_argument("problems", nargs="*", metavar="MxNxK")
    recording.add_argument("--out", type=Path, required=True)
    recording.add_argument("--device", default="0", help="0, 1, ... or cpu")
    recording.add_argument("--regime", action="append", choices=tuple(REGIMES))
    recording.add_argument("--rounds", type=int, default=0)
    simulating = commands.add_parser("simulate")
    simulating.add_argument("file", type=Path)
    simulating.add_argument("--races", type=int, default=400)
    arguments = parser.parse_args()
    if arguments.command == "record":
        regimes = arguments.regime or tuple(REGIMES)
        write_noise(arguments.out, list(record(arguments.device, regimes, arguments.problems, arguments.rounds)))
        return
    print("| problem | regime | scenario | best dropped | false claim | not covered | decided | worst regret | cost |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for trace in read_noise(arguments.file):
        for name, speeds in SCENARIOS.items():
            shares = summary(trace, speeds, arguments.races)
            cells = " | ".join(f"{share:.3f}" for share in shares.values())
            print(f"| {trace.problem} | {trace.regime} | {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
