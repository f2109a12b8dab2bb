"""Epilogues against what they replace: bias and gelu, and the gated pair, raced with cuBLAS and pointwise kernels.

    python -P benchmarks/fused.py --out fused.json
    python -P benchmarks/fused.py --epilogues silu+up --m 512 --n 14336 --regime burst --out gated.json

For each shape some configs of each family are evaluated, each checked against the product in fp32 followed by the
epilogue in fp32; then the fastest few, and the fastest of each family, race the library's steps one by one and
Inductor's kernels, in turn, in one run. What a rival's own rounding in between costs is its error, in the same units.
Written after every shape. Of bias and gelu, some rivals write over the product, which is still in the L2, and some
another matrix, as a model's layers do.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from tilewright.benchmarks.unfused import rivals
from tilewright.kernels import families
from tilewright.kernels.config import Config
from tilewright.kernels.problem import Problem
from tilewright.tuner.evaluate import Meter, MeterOptions, RaceLimit, open_meter
from tilewright.tuner.referee import lane_ratio
from tilewright.tuner.trial import Outcome, Race, Trial

FAMILIES: Final = ("half_by_half", "warp_specialized", "mixed_tiles", "descriptor")
EPILOGUES: Final = ("bias+gelu", "silu+up")
# What is tried of each family, in steps of 64 along k: (block_m, block_n, stages, columns a store, 0 for all, group_m)
TILES: Final = {
    "warp_specialized": (
        (128, 256, 4, 128, 8), (128, 256, 4, 64, 12), (128, 256, 4, 128, 4), (128, 128, 6, 0, 8), (128, 128, 6, 64, 8),
    ),
    "mixed_tiles": (
        (192, 256, 3, 128, 8), (192, 256, 3, 64, 12), (192, 256, 3, 128, 4), (128, 256, 4, 128, 4),
    ),
}  # fmt: skip
# (block_n, stages, halved, group_m)
HALVED: Final = (
    (256, 4, 4, 8), (256, 4, 4, 4), (256, 4, 4, 12), (256, 4, 2, 8), (256, 4, 3, 8), (128, 6, 4, 8), (128, 6, 2, 8),
    (128, 5, 3, 8),
)  # fmt: skip
# (block_m, block_n, warps, stages, programs_per_sm)
DESCRIPTOR: Final = ((128, 128, 8, 5, 1), (128, 256, 8, 3, 1), (256, 128, 8, 3, 1))
PATIENCE_S: Final = 90.0  # for one config: Inductor, in an empty cache, compiles within it


@dataclass(slots=True)
class Found:
    """What was found so far, as it is written. `standings` are the races' results; `errors` are of the whole problem
    and of a ragged one, in units of what an element may deviate by."""

    command: str
    regime: str
    device: str = ""
    environment: dict[str, Any] = field(default_factory=dict)
    evaluated: list[dict[str, Any]] = field(default_factory=list)
    races: list[dict[str, Any]] = field(default_factory=list)
    geometric_means: dict[str, float] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        for epilogue in EPILOGUES:
            for of in ("of_all", "of_those_apart"):
                best = [one[of] for one in self.races if one["epilogue"] == epilogue]
                if best:
                    self.geometric_means[f"{epilogue} {of}"] = math.exp(sum(map(math.log, best)) / len(best))
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--m", type=int, nargs="*", default=(4096, 2048, 1024, 512))
    parser.add_argument("--n", type=int, nargs="*", default=(14336, 4096, 6144))
    parser.add_argument("--k", type=int, default=4096)
    parser.add_argument("--epilogues", nargs="*", choices=EPILOGUES, default=EPILOGUES)
    parser.add_argument("--dtype", default="bf16")
    parser.add_argument("--regime", default="interleaved")
    parser.add_argument("--finalists", type=int, default=2, help="that race beside the best of each family")
    parser.add_argument("--race-seconds", type=float, default=1.0, help="of each race, in the default regime")
    parser.add_argument("--seconds", type=float, default=520.0, help="no shape is begun after so many")
    parser.add_argument("--verbose", action="store_true", help="each config as it ends")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    begun = time.monotonic()
    found = Found(" ".join(["python -P benchmarks/fused.py", *sys.argv[1:]]), asked.regime)
    until = begun + asked.seconds
    options = MeterOptions(families=FAMILIES, regime=asked.regime, evaluate_timeout_s=PATIENCE_S)
    with closing(open_meter("gpu", options)) as meter:
        found.device = meter.device.name
        found.environment = asdict(meter.environment(Config.of("warp_specialized")))
        # Of one width all m follow each other: its kernels are compiled once.
        for epilogue, n, m in itertools.product(asked.epilogues, asked.n, asked.m):
            if time.monotonic() > until:
                break
            one_shape(found, meter, Problem(m, n, asked.k, asked.dtype, epilogue=epilogue), asked)
            found.write(asked.out)
            print(f"    after {time.monotonic() - begun:.0f} s", flush=True)
    print({name: round(mean, 3) for name, mean in found.geometric_means.items()})


def one_shape(found: Found, meter: Meter, problem: Problem, asked: argparse.Namespace) -> None:
    others = [Config.of(one.name) for one in rivals(problem)]
    library = meter.library(problem)
    beside = others if library is None else [library, *others]
    for config in (*candidates(problem, meter), *beside):
        meter.submit(problem, config)
    trials = []
    for trial in collected(meter):
        trials.append(trial)
        if asked.verbose:
            print(f"{time.strftime('%T')} {trial.config} {trial.outcome}", file=sys.stderr, flush=True)
    found.evaluated += [told(trial) for trial in trials]
    ours = [trial for trial in trials if trial.outcome is Outcome.MEASURED and trial.config not in beside]
    # Beside the library, for the clock changes from one to the next.
    ours.sort(key=lambda trial: -(trial.measurement.speed or 0.0) if trial.measurement else 0.0)
    for trial in trials:
        if trial.outcome is not Outcome.MEASURED and trial.config not in beside:
            print(f"{problem} {trial.config}: {trial.outcome} {trial.reason}", flush=True)
    of_each = {trial.config.family: trial for trial in reversed(ours)}.values()
    racers = (*others, *dict.fromkeys(trial.config for trial in (*ours[: asked.finalists], *of_each)))
    raced = meter.race(problem, racers, RaceLimit(rounds=60, seconds=asked.race_seconds))
    if raced is None:
        print(f"{problem}: no race, {meter.protocol}", flush=True)
        return
    standing = standings(raced)
    theirs = max(lane["ratio"] for lane in standing if lane["rival"])
    apart = max(lane["ratio"] for lane in standing if lane["rival"] and not lane["in_place"])
    own = max(standing, key=lambda lane: 0.0 if lane["rival"] else float(lane["ratio"]))
    ahead = {"of_all": own["ratio"] / theirs, "of_those_apart": own["ratio"] / apart}
    found.races.append(
        {"problem": problem.key, "epilogue": problem.epilogue, **ahead, "lanes": standing, "notes": raced.notes}
    )
    print(
        f"{problem}: {ahead['of_all']:.3f} of the best rival, {ahead['of_those_apart']:.3f} of the best of those that "
        f"write another matrix; {own['median_us']:.1f} us, {own['config']}",
        flush=True,
    )
    for lane in standing:
        print(f"    {lane['median_us']:8.1f} us  {lane['ratio']:.3f}  {lane['config']}", flush=True)


def candidates(problem: Problem, meter: Meter) -> list[Config]:
    """The families' defaults and those listed; what a problem refuses is left out."""
    listed = [
        Config.of(
            family, block_m=m, block_n=n, block_k=64, group_m=group, num_stages=stages,
            store_slices=max(1, n // problem.products // (columns or n)),
        )
        for family, tiles in TILES.items()
        for m, n, stages, columns, group in tiles
    ]  # fmt: skip
    listed += [
        Config.of(
            "half_by_half", block_m=128, block_n=n, block_k=64, group_m=group, num_stages=stages, halved=halved,
        )
        for n, stages, halved, group in HALVED
    ]  # fmt: skip
    listed += [
        Config.of(
            "descriptor", block_m=m, block_n=n, block_k=64, group_m=8, num_warps=warps, num_stages=stages,
            programs_per_sm=programs,
        )
        for m, n, warps, stages, programs in DESCRIPTOR
    ]  # fmt: skip
    defaults = [config for name in FAMILIES for config in families.family(name).defaults(problem, meter.device)]
    space = families.space(problem, meter.device, FAMILIES)
    return [config for config in dict.fromkeys((*defaults, *listed)) if config in space]


def standings(raced: Race) -> list[dict[str, Any]]:
    """Each lane against the library's steps one by one."""
    found = []
    for lane in raced.lanes:
        ratio, rival = lane_ratio(raced, lane), families.family(lane.config.family).is_library
        found.append(
            {
                "config": str(lane.config),
                "rival": rival,
                "in_place": rival and raced.problem.products == 1 and not lane.config.family.endswith("APART"),
                "ratio": ratio.median if ratio else 1.0,
                "median_us": sorted(lane.times_us)[len(lane.times_us) // 2],
                "times_us": lane.times_us,
            }
        )
    return found


def collected(meter: Meter) -> Iterator[Trial]:
    while trials := meter.collect():
        yield from trials


def told(trial: Trial) -> dict[str, Any]:
    return {
        "problem": trial.problem.key,
        "config": str(trial.config),
        "outcome": trial.outcome.value,
        "reason": trial.reason,
        "errors": [one.error for one in trial.checks],
        "median_us": trial.median_us,
        "speed": trial.measurement.speed if trial.measurement else None,
    }


if __name__ == "__main__":
    main()
