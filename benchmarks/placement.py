"""How far a race's answer depends on where its operands happen to lie in memory.

    python -P benchmarks/placement.py record --out results/nvidia-h200/placement.json
    python -P benchmarks/placement.py show results/nvidia-h200/placement.json

`record` races the defaults of some families against the library again and again, each time with operands allocated anew
and after a load of its own. What differs between these races no interval of one race can know: `SYSTEMATIC` stands for
it. `show` prints the spread, and how many races' intervals hold the mean of the other races.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tilewright.kernels.config import Config
from tilewright.kernels.families import family
from tilewright.kernels.problem import Problem
from tilewright.tuner.referee import SYSTEMATIC, race_ratio

ROUNDS: Final = 36
LANES: Final = 4
PROBLEMS: Final = (
    *("1x4096x14336", "1x28672x4096", "8x6144x4096", "16x28672x4096", "32x4096x4096", "64x4096x14336"),
    *("128x6144x4096", "128x28672x4096", "512x4096x4096", "1024x4096x14336", "2048x6144x4096", "4096x14336x4096"),
)
FAMILIES: Final = ("split_k", "tiled", "descriptor", "warp_specialized", "mixed_tiles")


def record(where: str, shapes: Sequence[str], races: int) -> Iterator[dict[str, Any]]:
    """Of each problem, races of the library and of the families' first defaults, each in a bench of its own."""
    from tilewright.tuner.evaluate.server import Server

    device = Server(where, 0, "interleaved").device
    for shape in shapes:
        problem = Problem.parse(shape)
        spaces = [(family(name), family(name).space(problem, device)) for name in FAMILIES]
        firsts = [one.defaults(problem, device)[:1] for one, space in spaces if len(space)]
        configs = [config for first in firsts for config in first][: LANES - 1]
        if not configs:
            raise ValueError(f"no family of ours computes {problem} on {device.name}: name another problem or a GPU")
        for seed in range(races):
            bench = Server(where, seed, "interleaved").bench
            prepared = bench.prepare(problem)
            assert prepared.library is not None
            lanes: list[Config] = [prepared.library, *configs]
            rounds = bench.lanes(prepared, lanes)(range(len(lanes)), ROUNDS)
            times = [[round(time, 3) for time in lane] for lane in zip(*rounds, strict=True)]
            yield {"problem": problem.key, "race": seed, "lanes": [str(lane) for lane in lanes], "times_us": times}
            bench.release()


def show(rows: Sequence[dict[str, Any]]) -> None:
    print("| problem | config | races | least | mean | greatest | not holding the mean of the others |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    missed, deviations = 0, []
    for problem in dict.fromkeys(row["problem"] for row in rows):
        races = [row for row in rows if row["problem"] == problem]
        for lane, config in enumerate(races[0]["lanes"][1:], 1):
            ratios = [race_ratio(one["times_us"][lane], one["times_us"][0], len(one["lanes"])) for one in races]
            medians = [ratio.median for ratio in ratios]
            others = [(sum(medians) - one) / (len(medians) - 1) for one in medians]
            apart = sum(not ratio.low <= other <= ratio.high for ratio, other in zip(ratios, others, strict=True))
            missed += apart
            deviations += [one / statistics.fmean(medians) - 1 for one in medians]
            cells = (len(medians), *(f"{f(medians):.4f}" for f in (min, statistics.fmean, max)), apart)
            print(f"| {problem} | {config} | {' | '.join(map(str, cells))} |")
    spread = f"standard deviation {statistics.pstdev(deviations):.2%}, largest {max(map(abs, deviations)):.2%}"
    print(f"\nOf {len(deviations)} ratios {missed} do not hold the mean of the others with {SYSTEMATIC:.1%}; {spread}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    recording = commands.add_parser("record")
    recording.add_argument("problems", nargs="*", default=PROBLEMS, metavar="MxNxK")
    recording.add_argument("--out", type=Path, required=True)
    recording.add_argument("--device", default="0")
    recording.add_argument("--races", type=int, default=6)
    showing = commands.add_parser("show")
    showing.add_argument("file", type=Path)
    asked = parser.parse_args()
    if asked.command == "show":
        show(json.loads(asked.file.read_text())["rows"])
        return
    rows = list(record(asked.device, asked.problems, asked.races))
    asked.out.write_text(json.dumps({"rows": rows}) + "\n")
    show(rows)


if __name__ == "__main__":
    main()
