"""Whether one family computes the right thing, and how it stands against the library: checks, then races.

    python -P benchmarks/family.py warp_specialized --out family.json
    python -P benchmarks/family.py warp_specialized --shapes 8192x8192x8192 --regimes sustained --out family.json
    python -P benchmarks/family.py half_by_half --epilogue bias+gelu --out family.json

First some configs of the family compute problems of every layout and 16-bit dtype, whole and ragged. Then, for each
shape, configs are evaluated one after another, and the fastest few race the library in each regime. All of it runs in a
measuring process that is killed when a kernel hangs: that costs a config and some seconds. What was found is written
after every problem, so that nothing is lost when this program is stopped.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tilewright.benchmarks import ends
from tilewright.kernels import families
from tilewright.kernels.config import Config
from tilewright.kernels.problem import LAYOUTS, Problem
from tilewright.tuner.evaluate import Meter, MeterOptions, RaceLimit, open_meter
from tilewright.tuner.trial import Outcome

SHAPES: Final = (
    "8192x8192x8192", "4096x4096x4096", "4096x6144x4096", "4096x28672x4096", "4096x4096x14336", "2048x8192x8192",
    "1024x28672x4096", "8192x1280x8192", "2048x2048x2048", "512x4096x4096", "128x8192x8192",
)  # fmt: skip
# Whole tiles, ragged ones, more tiles than programs, fewer steps than stages, both of these, a long sum, one row.
CHECKED: Final = (
    (256, 256, 256), (200, 328, 264), (3000, 3080, 1032), (3072, 2816, 512), (136, 264, 8), (3000, 3080, 72),
    (64, 64, 65536), (8, 512, 72),
)  # fmt: skip
# What is raced of a family; of one that is not here, its defaults and some drawn.
RACED: Final[dict[str, tuple[dict[str, int], ...]]] = {
    "warp_specialized": tuple(
        {"block_m": m, "block_n": n, "block_k": 64, "group_m": group, "num_stages": stages, "store_slices": slices}
        for m, n, stages, slices in (
            (128, 256, 4, 2), (128, 256, 4, 4), (128, 128, 6, 2), (192, 128, 4, 1), (64, 256, 5, 4)
        )
        for group in (1, 8, 12)
    ),
    "mixed_tiles": tuple(
        {"block_m": m, "block_n": n, "block_k": 64, "group_m": group, "num_stages": stages, "store_slices": slices}
        for m, n, stages, slices in (
            (192, 256, 3, 2), (192, 256, 3, 4), (128, 256, 4, 2), (192, 128, 5, 2), (128, 128, 6, 2)
        )
        for group in (4, 8, 12)
    ),
    "half_by_half": tuple(
        {"block_m": 128, "block_n": n, "block_k": 64, "group_m": group, "num_stages": stages, "halved": halved}
        for n, stages, halved in ((256, 4, 4), (256, 4, 2), (128, 6, 4))
        for group in (4, 8, 12)
    ),
    "clustered": tuple(
        {"block_m": m, "block_n": n, "block_k": k, "group_m": group, "cluster_m": down, "cluster_n": across,
         "in_flight": in_flight}
        for m, n, k in (
            (64, 48, 128), (64, 64, 64), (64, 96, 128), (128, 80, 64), (128, 96, 64), (128, 160, 64), (128, 176, 64),
            (128, 192, 64), (128, 224, 64), (128, 256, 64),
        )
        for group in (1, 8)
        for down, across in ((1, 1), (2, 1))
        for in_flight in (0, 1)
    ),
}  # fmt: skip
RIVALS: Final = ("descriptor",)  # whose defaults race too
LOST: Final = (Outcome.TIMED_OUT, Outcome.CRASHED)
LOST_AT_MOST: Final = 4  # of the configs, and the family is given up: each costs half a minute


@dataclass(slots=True)
class Found(ends.Found):
    """`checks` are trials of the first part."""

    checks: list[dict[str, Any]] = field(default_factory=list)

    @property
    def hopeless(self) -> bool:
        return sum(one["outcome"] in LOST for one in (*self.checks, *self.evaluated)) >= LOST_AT_MOST


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("family")
    parser.add_argument("--device", default="gpu", help="where: gpu, gpu:1, cpu")
    parser.add_argument("--shapes", nargs="*", default=SHAPES)
    parser.add_argument("--layout", choices=LAYOUTS, default="nt", help="of what is raced")
    parser.add_argument("--dtype", default="bf16", help="of what is raced")
    parser.add_argument("--epilogue", default="", help="of what is checked and raced")
    parser.add_argument("--regimes", nargs="*", default=("burst", "sustained"))
    parser.add_argument("--finalists", type=int, default=3, help="of the family, in each race")
    parser.add_argument("--checks", type=int, default=64, help="how many configs and problems are checked")
    parser.add_argument("--seconds", type=float, default=520.0, help="nothing new is begun after so many")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    found = Found(" ".join(["python -P benchmarks/family.py", *sys.argv[1:]]))
    try:
        run(found, asked, time.monotonic() + asked.seconds)
    finally:
        found.write(asked.out)
    print(f"{len(found.wrong)} wrong of {len(found.checks)} checked and {len(found.evaluated)} evaluated")


def run(found: Found, asked: argparse.Namespace, until: float) -> None:
    """One meter at a time: another one's process would be a stranger on the device."""
    problems = [Problem.parse(shape, asked.dtype, asked.layout, epilogue=asked.epilogue) for shape in asked.shapes]
    finalists: dict[Problem, tuple[Config, ...]] = {}

    def over() -> bool:
        found.write(asked.out)
        return found.hopeless or time.monotonic() > until

    with opened(asked, "interleaved") as meter:
        found.start(meter, asked.family)
        print(f"{found.device}, triton {found.environment['triton']}")
        for problem, config in itertools.islice(draw(asked, meter), asked.checks):
            check(found, meter, problem, config)
            if over():
                return
        for problem in problems:
            finalists[problem] = best(found, meter, problem, asked)
            if over():
                return
    for regime in asked.regimes:
        with opened(asked, regime) as meter:
            for problem in problems:
                race(found, meter, problem, finalists[problem])
                if over():
                    return


def opened(asked: argparse.Namespace, regime: str) -> closing[Meter]:
    return closing(open_meter(asked.device, MeterOptions(families=(asked.family, *RIVALS), regime=regime)))


def draw(asked: argparse.Namespace, meter: Meter) -> Iterator[tuple[Problem, Config]]:
    """Problems that the family has a space for, in turn, and a point of it each; none where it has none for any."""
    chance, found = random.Random(asked.family), True
    forms = list(itertools.product(CHECKED, LAYOUTS, ("bf16", "fp16"), ("", "fp32")))
    chance.shuffle(forms)
    while found:
        found = False
        for (m, n, k), layout, dtype, out_dtype in forms:
            problem = Problem(m, n, k, dtype, layout, out_dtype, asked.epilogue)
            if space := list(families.space(problem, meter.device, (asked.family,))):
                found = True
                yield problem, chance.choice(space)


def check(found: Found, meter: Meter, problem: Problem, config: Config) -> None:
    meter.submit(problem, config)
    for trial in ends.collected(meter):
        found.checks.append(found.told(trial))


def best(found: Found, meter: Meter, problem: Problem, asked: argparse.Namespace) -> tuple[Config, ...]:
    """The fastest of the family's configs, and a rival's default."""
    listed = [Config.of(asked.family, axes) for axes in RACED.get(asked.family, ())]
    candidates = ends.valid((asked.family,), problem, meter, listed)
    measured = ends.measured(found.evaluate(meter, problem, candidates))
    measured.sort(key=lambda trial: trial.median_us or 0.0)
    rivals = [config for name in RIVALS for config in ends.valid((name,), problem, meter, ())[:1]]
    return (*(trial.config for trial in measured[: asked.finalists]), *rivals)


def race(found: Found, meter: Meter, problem: Problem, configs: tuple[Config, ...]) -> None:
    raced = meter.race(problem, configs, RaceLimit(rounds=60, seconds=1.0))
    if raced is None:
        found.wrong.append(f"{problem}: no race, {meter.protocol}")
        return
    lanes = sorted(ends.standings(raced), key=lambda lane: float(lane["ratio"]), reverse=True)
    found.races.append({"problem": problem.key, "protocol": raced.protocol, "lanes": lanes, "notes": raced.notes})
    for lane in lanes:
        print(
            f"{problem} {raced.protocol:12} {lane['ratio']:.3f} [{lane['low']:.3f}, {lane['high']:.3f}]"
            f" {lane['median_us']:8.1f} us {lane['tflops']:6.1f} TFLOP/s {lane['config']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
