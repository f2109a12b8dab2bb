"""fp8 and int8 against `torch._scaled_mm` and `torch._int_mm`: layers of models from one row to thousands, raced.

    python -P benchmarks/one_byte.py --out one_byte.json
    python -P benchmarks/one_byte.py --dtypes e4m3fast --scales scale --layers 28672x4096 --out fast.json

For each problem some dozens of configs are evaluated, each checked, and the fastest few race the library in turn, in
one run. `e4m3` is what the library computes by default, partial sums promoted to fp32, and `e4m3fast` what it does with
`use_fast_accum`: like races like. Where scales are by row, the library has kernels of its own for them; a scale of the
whole tensor is an argument of its product. int8 is scaled after the library's product, by a kernel a step. Written
after every problem.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tilewright.benchmarks import ends
from tilewright.kernels.config import Config
from tilewright.kernels.families import first_guesses
from tilewright.kernels.problem import DTYPES, Problem
from tilewright.tuner.evaluate import Meter, MeterOptions, RaceLimit, open_meter

ROWS: Final = (1, 16, 64, 128, 512, 2048, 4096, 8192)
LAYERS: Final = ("6144x4096", "28672x4096", "4096x14336")  # n x k, of Llama 3.1 8B
BY_ROW: Final = "row_scale+column_scale"
FEW_ROWS: Final = 64
OURS: Final = ("swapped", "split_k", "warp_specialized", "mixed_tiles", "descriptor", "clustered")
# (block_n, block_k, warps, stages) of tiles that few rows are multiplied in.
SWAPPED: Final = (
    (64, 256, 4, 4), (64, 256, 4, 6), (64, 128, 4, 6), (64, 128, 4, 8), (128, 128, 8, 6), (128, 256, 8, 4),
)  # fmt: skip
SPLITS: Final = (1, 2, 4)
# (family, block_m, block_n, stages, slices) of tiles that many rows are.
TILES: Final = (
    ("warp_specialized", 128, 128, 5, 1), ("warp_specialized", 128, 128, 6, 2), ("warp_specialized", 128, 256, 4, 2),
    ("warp_specialized", 128, 256, 4, 4), ("warp_specialized", 192, 128, 4, 2), ("warp_specialized", 128, 64, 6, 1),
    ("mixed_tiles", 192, 256, 3, 2), ("mixed_tiles", 192, 256, 3, 4), ("mixed_tiles", 128, 256, 4, 2),
)  # fmt: skip
GROUPS: Final = (1, 4, 8, 12)


@dataclass(slots=True)
class Found(ends.Found):
    """A race's `ratio` is the library's time over that of the fastest of ours, by rounds."""

    def write(self, path: Path) -> None:
        ratios: dict[str, list[float]] = {}
        for one in self.races:
            few = f"m <= {FEW_ROWS}" if one["m"] <= FEW_ROWS else f"m > {FEW_ROWS}"
            ratios.setdefault(f"{one['dtype']} {one['epilogue']} {few}", []).append(one["ratio"])
        self.geometric_means = {name: statistics.geometric_mean(each) for name, each in ratios.items()}
        ends.Found.write(self, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--m", type=int, nargs="*", default=ROWS)
    parser.add_argument("--layers", nargs="*", default=LAYERS, help="n x k")
    parser.add_argument(
        "--dtypes", nargs="*", choices=[name for name in DTYPES if DTYPES[name].bytes == 1], default=["e4m3"]
    )
    parser.add_argument("--scales", nargs="*", choices=("scale", BY_ROW), default=(BY_ROW, "scale"))
    parser.add_argument("--regime", default="interleaved")
    parser.add_argument("--finalists", type=int, default=3)
    parser.add_argument("--race-seconds", type=float, default=0.5, help="of each race, in the default regime")
    parser.add_argument("--seconds", type=float, default=520.0, help="no problem is begun after so many")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    found = Found(" ".join(["python -P benchmarks/one_byte.py", *sys.argv[1:]]))
    until = time.monotonic() + asked.seconds
    with closing(open_meter("gpu", MeterOptions(families=OURS, regime=asked.regime))) as meter:
        found.start(meter, "warp_specialized")
        # Of one set of scales all m and layers follow each other: their kernels are compiled once.
        for dtype, scales, m, layer in itertools.product(asked.dtypes, asked.scales, asked.m, asked.layers):
            if time.monotonic() > until:
                break
            one_problem(found, meter, Problem.parse(f"{m}x{layer}", dtype, epilogue=scales), asked)
            found.write(asked.out)
    print({name: round(mean, 3) for name, mean in found.geometric_means.items()})


def one_problem(found: Found, meter: Meter, problem: Problem, asked: argparse.Namespace) -> None:
    measured = ends.measured(found.evaluate(meter, problem, candidates(problem, meter)))
    measured.sort(key=lambda trial: trial.median_us or math.inf)
    racers = tuple(trial.config for trial in measured[: asked.finalists])
    raced = meter.race(problem, racers, RaceLimit(rounds=60, seconds=asked.race_seconds))
    if raced is None or len(raced.lanes) < 2:
        print(f"{problem}: no race of {len(racers)}", flush=True)
        return
    lanes = ends.standings(raced)
    best = max((lane for lane in lanes if not lane["library"]), key=lambda lane: float(lane["ratio"]))
    found.races.append(
        {"problem": problem.key, "m": problem.m, "dtype": problem.dtype, "epilogue": problem.epilogue}
        | {"ratio": best["ratio"], "protocol": raced.protocol, "notes": raced.notes, "lanes": lanes}
    )
    theirs = next(lane["median_us"] for lane in lanes if lane["library"])
    print(
        f"{problem}: {best['ratio']:.3f} [{best['low']:.3f}, {best['high']:.3f}] {best['median_us']:.1f} us,"
        f" {problem.flops / best['median_us'] / 1e6:.0f} TFLOP/s,"
        f" {problem.bytes_moved / best['median_us'] / 1e3:.0f} GB/s, library {theirs:.1f} us: {best['config']}",
        flush=True,
    )


def candidates(problem: Problem, meter: Meter) -> list[Config]:
    """Some dozens, each family's defaults, and of the widths of `clustered` those that the guess holds fastest; what a
    problem refuses is left out."""
    block_m = min(64, max(16, 1 << (problem.m - 1).bit_length()))
    listed = [
        Config.of("swapped", block_m=block_m, block_n=n, block_k=k, num_warps=warps, num_stages=stages, split=split)
        for n, k, warps, stages in SWAPPED
        for split in SPLITS
    ]
    listed += [
        Config.of(family, block_m=m, block_n=n, block_k=128, group_m=group, num_stages=stages, store_slices=slices)
        for family, m, n, stages, slices in TILES
        for group in GROUPS
    ]
    listed += first_guesses(problem, meter.device, ("clustered",), count=10)
    return ends.valid(OURS, problem, meter, listed)


if __name__ == "__main__":
    main()
