"""Epilogues against what they replace: bias and gelu, and the gated pair, raced with cuBLAS and pointwise kernels.

    python -P benchmarks/fused.py --out fused.json
    python -P benchmarks/fused.py --epilogues silu+up --m 512 --n 14336 --regimes burst --out gated.json
    python -P benchmarks/fused.py --read fused.json

For each shape ours are searched for some seconds, in the first regime that comes to it, each config checked against the
product in fp32 followed by the epilogue in fp32; then the fastest few race in turn, in one run, all rivals that are
right: the library's steps one by one, cuBLAS and torch's own kernel, cuBLAS and Inductor's kernels. These are compiled
once for all shapes. What a rival's own rounding in between costs is its error, in the same units. Written after every
race. Of bias and gelu, some rivals write over the product, which is still in the L2, and some another matrix, as a
model's layers do.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tilewright.benchmarks import ends
from tilewright.benchmarks.unfused import rivals
from tilewright.kernels.config import Config
from tilewright.kernels.problem import Problem
from tilewright.tuner.evaluate import REGIMES, Meter, MeterOptions, RaceLimit, open_meter
from tilewright.tuner.trial import Trial

EPILOGUES: Final = ("bias+gelu", "silu+up")
PATIENCE_S: Final = 90.0  # for one config: Inductor, in an empty cache, compiles within it, once a process
# Of what an element may deviate by, the most that a rival's rounding in between costs: where k is short a sum of a few
# products is rounded, and a bias that cancels it leaves that. One that computes something else is off by hundreds.
ROUNDED: Final = 32.0
# Rivals that end in a kernel of Inductor's, by what cuBLAS computes before it: of bias and gelu the product alone or
# the bias too, of the gated pair one product that is twice as wide or two.
COMPILED_AFTER: Final = {"compiled": ("COMPILED", "COMPILED_APART"), "other compiled": ("OTHER",)}


@dataclass(slots=True)
class Found(ends.Found):
    """`ratio` is the best rival's time over our best; `apart` is that of the rivals that write another matrix."""

    def write(self, path: Path) -> None:
        self.geometric_means = means(self.races)
        ends.Found.write(self, path)


def means(races: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Geometric means by form: of `ratio`, of `apart`, and of our best over each kind of `COMPILED_AFTER`."""
    found = {}
    for form in dict.fromkeys(race["form"] for race in races):
        same = [race for race in races if race["form"] == form]
        for which in ("ratio", "apart"):
            found[f"{form} {which}"] = statistics.geometric_mean(race[which] for race in same)
        for kind, names in COMPILED_AFTER.items():
            if over := [ratio for race in same for ratio in over_best(race["lanes"], names)]:
                found[f"{form} {kind}"] = statistics.geometric_mean(over)
    return found


def over_best(lanes: Sequence[dict[str, Any]], names: tuple[str, ...]) -> list[float]:
    """Our best over the best of the rivals of these names in one race; nothing where none was right."""
    own = max(float(lane["ratio"]) for lane in lanes if not lane["library"])
    theirs = [float(lane["ratio"]) for lane in lanes if str(lane["config"]).rpartition(":")[2] in names]
    return [own / max(theirs)] if theirs else []


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--m", type=int, nargs="*", default=(4096, 1024))
    parser.add_argument("--n", type=int, nargs="*", default=(4096, 14336))
    parser.add_argument("--k", type=int, default=4096)
    parser.add_argument("--epilogues", nargs="*", choices=EPILOGUES, default=EPILOGUES)
    parser.add_argument("--dtype", default="bf16")
    parser.add_argument("--regimes", nargs="*", choices=list(REGIMES), default=("interleaved", "burst"))
    parser.add_argument("--search-seconds", type=float, default=8.0, help="of each shape, for ours")
    parser.add_argument("--finalists", type=int, default=4, help="of ours")
    parser.add_argument("--race-seconds", type=float, default=0.5, help="of each race, in the default regime")
    parser.add_argument("--seconds", type=float, default=520.0, help="shared by the regimes: then no race is begun")
    parser.add_argument("--out", type=Path, default=Path("fused.json"))
    parser.add_argument("--read", type=Path, metavar="FILE", help="tell the means of what was written, and end")
    asked = parser.parse_args()
    if asked.read is not None:
        tell(means(json.loads(asked.read.read_text())["races"]))
        return
    begun, found = time.monotonic(), Found(" ".join(["python -P benchmarks/fused.py", *sys.argv[1:]]))
    shapes = itertools.product(asked.epilogues, asked.n, asked.m)
    problems = [Problem(m, n, asked.k, asked.dtype, epilogue=epilogue) for epilogue, n, m in shapes]
    racers: dict[Problem, tuple[Config, ...]] = {}
    for number, regime in enumerate(asked.regimes, 1):
        options = MeterOptions(regime=regime, evaluate_timeout_s=PATIENCE_S)
        with closing(open_meter("gpu", options)) as meter:
            found.start(meter, "warp_specialized")  # any family will do for the toolchain
            for problem in problems:
                if time.monotonic() - begun > asked.seconds * number / len(asked.regimes):
                    break
                if problem not in racers:
                    racers[problem] = finalists(found, meter, problem, asked)
                race(found, meter, problem, racers[problem], RaceLimit(60, asked.race_seconds))
                found.write(asked.out)
                print(f"    {regime}, after {time.monotonic() - begun:.0f} s", flush=True)
    tell(found.geometric_means)


def tell(found: dict[str, float]) -> None:
    print(*(f"{name}: {mean:.3f}" for name, mean in found.items()), sep="\n")


def finalists(found: Found, meter: Meter, problem: Problem, asked: argparse.Namespace) -> tuple[Config, ...]:
    """The rivals that are right, and the fastest of ours that a search finds."""
    ours = ends.measured(found.search(meter, problem, asked.search_seconds))
    # Beside the library, for the clock changes from one to the next.
    ours.sort(key=lambda trial: -(trial.measurement.speed or 0.0) if trial.measurement else 0.0)
    others = found.evaluate(meter, problem, [Config.of(one.name) for one in rivals(problem)])
    theirs = [trial.config for trial in others if rounds_at_most(trial)]
    return (*theirs, *(trial.config for trial in ours[: asked.finalists]))


def rounds_at_most(trial: Trial) -> bool:
    """Whether a rival computes the right thing but for its own rounding; the bound is that of one rounding."""
    return bool(trial.checks) and all(one.error <= ROUNDED for one in trial.checks)


def race(found: Found, meter: Meter, problem: Problem, racers: tuple[Config, ...], limit: RaceLimit) -> None:
    raced = meter.race(problem, racers, limit)
    lanes = [] if raced is None else ends.standings(raced)
    ours = [lane for lane in lanes if not lane["library"]]
    if raced is None or not ours:
        found.wrong.append(f"{problem}: no race of {len(racers)}, {meter.protocol}")
        print(found.wrong[-1], flush=True)
        return
    theirs = [lane for lane in lanes if lane["library"]]
    # Of the gated pair every rival writes another matrix.
    another = [lane for lane in theirs if problem.products == 2 or "APART" in lane["config"]] or theirs
    own = max(ours, key=lambda lane: float(lane["ratio"]))
    best, apart = (max(float(lane["ratio"]) for lane in of) for of in (theirs, another))
    ahead = {"ratio": own["ratio"] / best, "apart": own["ratio"] / apart}
    found.races.append(
        {"problem": problem.key, "form": f"{problem.epilogue} {raced.protocol}", "protocol": raced.protocol}
        | {**ahead, "lanes": lanes, "notes": raced.notes}
    )
    print(
        f"{problem} {raced.protocol}: {ahead['ratio']:.3f} of the best rival, {ahead['apart']:.3f} of the best "
        f"that writes another matrix; {own['median_us']:.1f} us, {own['config']}",
        flush=True,
    )
    for lane in sorted(lanes, key=lambda lane: float(lane["ratio"]), reverse=True):
        print(f"    {lane['median_us']:8.1f} us  {lane['ratio']:.3f}  {lane['config']}", flush=True)


if __name__ == "__main__":
    main()
