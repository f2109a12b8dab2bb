"""How our own kernels stand against the library on the layers of well-known models: tuned, then raced.

    python -P benchmarks/layers.py --db layers.db --budget 20m --out layers.json
    python -P benchmarks/layers.py --db layers.db --budget 10m --layouts nn tn --out backward.json
    python -P benchmarks/layers.py --db layers.db --skip-tuning --regimes sustained --out sustained.json
    python -P benchmarks/layers.py --db plan.db --stored --out llama.json
    python -P benchmarks/layers.py --read llama.json

The shapes are drawn evenly, by a seed, from three classes of what the models of `kernels/models.py` compute: decode
(m up to 64), medium and large (m from 2048 on). `nn` is the gradient of a layer's input and `tn` that of its weight.
They are tuned by `tilewright tune` within a budget, into a store that a later run goes on with. Then the fastest kernel
of our own, never the library, races the library in each regime; what was raced is written after every race. What is
printed is the geometric mean of the ratios by regime, layout, dtype and class, with the worst.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from statistics import geometric_mean
from typing import Any, Final

from tilewright.benchmarks.ends import standings
from tilewright.cli.tune import Duration
from tilewright.kernels.config import Config
from tilewright.kernels.models import MODELS, layers_of
from tilewright.kernels.problem import Problem
from tilewright.tuner.evaluate import Meter, MeterOptions, RaceLimit, open_meter
from tilewright.tuner.store import open_store
from tilewright.tuner.store.ranking import ranking

TOKENS: Final = {"decode": (1, 2, 4, 8, 16, 32, 64), "medium": (128, 256, 512, 1024), "large": (2048, 4096, 8192)}
BACKWARD: Final = {"medium": (512, 1024), "large": (2048, 4096, 8192)}
LARGEST: Final = 1 << 42  # m * n * k, which takes 13 ms: no output layer of thousands of tokens
WEAK: Final = 0.97


def of_layer(tokens: int, n: int, k: int, *, layout: str, dtype: str) -> Problem:
    """What a layer of weight[n, k] computes: forward, or the gradient of its input (nn) or of its weight (tn)."""
    m, n, k = {"nt": (tokens, n, k), "nn": (tokens, k, n), "tn": (n, k, tokens)}[layout]
    return Problem(m, n, k, dtype, layout)


def shapes(asked: argparse.Namespace) -> dict[Problem, str]:
    """Problem -> its class; of each class, layout and dtype the same number, of different weights first. They stand in
    turn, so that a budget that ends early has seen something of all."""
    groups = []
    for layout in asked.layouts:
        for dtype in asked.dtypes:
            classes = TOKENS if layout == "nt" else BACKWARD
            for kind in [one for one in classes if one in asked.classes]:
                chance = random.Random(f"{asked.seed}:{layout}:{dtype}:{kind}")
                groups.append([(one, kind) for one in drawn(chance, classes[kind], layout, dtype, asked.count)])
    return dict(one for turn in itertools.zip_longest(*groups) for one in turn if one is not None)


def stored(asked: argparse.Namespace) -> dict[Problem, str]:
    """Problem -> its class, of those that the store holds: of each class so many at the most."""
    with open_store(asked.db, readonly=True) as store:
        held = [one for one in store.problems() if one.dtype in asked.dtypes and one.layout in asked.layouts]
    found: dict[Problem, str] = {}
    for kind, tokens in TOKENS.items():
        fitting = sorted(one for one in held if one.m <= tokens[-1] and one not in found)
        chosen = random.Random(f"{asked.seed}:{kind}").sample(fitting, min(asked.count, len(fitting)))
        found |= {one: kind if one in chosen else "" for one in fitting}
    return {one: kind for one, kind in found.items() if kind in asked.classes}


def drawn(chance: random.Random, tokens: Sequence[int], layout: str, dtype: str, count: int) -> Iterator[Problem]:
    """Weights in a random order, again and again, each time with another number of tokens."""
    weights = sorted({(layer.n, layer.k) for model in MODELS.values() for layer in layers_of(model)})
    chance.shuffle(weights)
    turns = (
        (tokens[(which + turn) % len(tokens)], weight)
        for turn, _ in enumerate(tokens)
        for which, weight in enumerate(weights)
    )
    fitting = ((m, n, k) for m, (n, k) in turns if m * n * k <= LARGEST)
    for m, n, k in itertools.islice(fitting, count):
        yield of_layer(m, n, k, layout=layout, dtype=dtype)


def tune(problems: Sequence[Problem], asked: argparse.Namespace) -> str:
    """By the command line, with our own families alone; gives the command."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shapes.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("m", "n", "k", "dtype", "layout"))
            writer.writerows((*one.shape, one.dtype, one.layout) for one in problems)
        program = str(Path(sys.executable).with_name("tilewright"))
        command = [program, "tune", "--shapes", str(path), "--budget", f"{asked.budget:.0f}s", "--db", str(asked.db)]
        command += [*shlex.split(asked.tune_options), "--json"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return shlex.join(["tilewright", "tune", "--shapes", "shapes.csv", *command[4:]])


def winners(problems: Sequence[Problem], asked: argparse.Namespace, device: str) -> dict[Problem, tuple[Config, ...]]:
    """The fastest of our own for each problem that has any."""
    found = {}
    with open_store(asked.db, readonly=True) as store:
        for problem in problems:
            ranked = ranking(store, problem, device, count=asked.finalists + 1)
            own = tuple(one.config for one in ranked if one.config.items_by_axis)
            if own:
                found[problem] = own[: asked.finalists]
    return found


def race(meter: Meter, problem: Problem, configs: tuple[Config, ...], asked: argparse.Namespace) -> dict[str, Any]:
    """Our fastest beside the library, as it is written."""
    raced = meter.race(problem, configs, RaceLimit(rounds=asked.rounds, seconds=asked.race_seconds))
    if raced is None:
        return {"problem": problem.key, "ratio": None, "notes": ["no race"]}
    lanes = list(standings(raced))
    own = max((lane for lane in lanes if lane["config"] != str(raced.reference)), key=lambda lane: float(lane["ratio"]))
    library = next(lane for lane in lanes if lane["config"] == str(raced.reference))
    row: dict[str, Any] = {"problem": problem.key, "protocol": raced.protocol, "notes": list(raced.notes)}
    row |= {name: own[name] for name in ("config", "ratio", "low", "high", "median_us", "tflops")}
    row["times_us"] = {"library": library["times_us"], "own": own["times_us"]}
    return row


def told(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The geometric means, each with its number of races and its worst."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["ratio"]:
            regime, layout, dtype = row["regime"], row["layout"], row["dtype"]
            groups[regime, layout, dtype, row["class"]].append(row)
            groups[regime, layout, dtype, "all"].append(row)
            groups[regime, layout, "all", "all"].append(row)
    for group, members in groups.items():
        worst = min(members, key=lambda row: float(row["ratio"]))
        mean = geometric_mean(row["ratio"] for row in members)
        weak = sum(row["ratio"] < WEAK for row in members)
        yield (
            f"{' '.join(group)}: {mean:.3f} of {len(members)}, {weak} below {WEAK}; "
            f"worst {worst['ratio']:.3f} {worst['problem']} {worst['config']}"
        )


def run(asked: argparse.Namespace) -> None:
    classes = stored(asked) if asked.stored else shapes(asked)
    document: dict[str, Any] = {"command": shlex.join(["benchmarks/layers.py", *sys.argv[1:]]), "races": []}
    if not (asked.skip_tuning or asked.stored):
        document["tuned_by"] = tune(list(classes), asked)
    until = time.monotonic() + asked.seconds
    for regime in asked.regimes:
        with closing(open_meter("gpu", MeterOptions(regime=regime))) as meter:
            document["device"] = meter.device.name
            own = winners(list(classes), asked, meter.device.name)
            document["without_a_kernel"] = [one.key for one in classes if one not in own]
            for problem, configs in own.items():
                if time.monotonic() > until:
                    break
                row = race(meter, problem, configs, asked)
                row |= {"regime": regime, "class": classes[problem], "layout": problem.layout, "dtype": problem.dtype}
                document["environment"] = asdict(meter.environment(configs[0]))
                document["races"].append(row)
                asked.out.write_text(json.dumps(document, indent=1) + "\n")
                if row["ratio"]:
                    print(f"{regime} {row['class']} {problem} {row['ratio']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
                          f" {row['config']}", flush=True)  # fmt: skip
    print(*told(document["races"]), sep="\n")
    print(f"{len(document['races'])} races of {len(classes) * len(asked.regimes)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", type=Path, default=Path("layers.db"), help="a store, made or gone on with")
    parser.add_argument("--read", type=Path, metavar="FILE", help="tell the means of what was written, and end")
    parser.add_argument("--budget", type=lambda text: Duration().convert(text, None, None), default=600.0)
    parser.add_argument("--skip-tuning", action="store_true", help="race what the store holds")
    parser.add_argument(
        "--stored", action="store_true", help="race the problems that the store holds, as it holds them"
    )
    parser.add_argument("--tune-options", default="", help="more for `tilewright tune`, as one text")
    parser.add_argument("--count", type=int, default=16, help="shapes of each class, layout and dtype")
    parser.add_argument("--classes", nargs="+", choices=list(TOKENS), default=list(TOKENS))
    parser.add_argument("--layouts", nargs="+", choices=("nt", "nn", "tn"), default=["nt"])
    parser.add_argument("--dtypes", nargs="+", default=["bf16", "fp16"])
    parser.add_argument("--regimes", nargs="+", default=["burst", "sustained"])
    parser.add_argument("--seed", type=int, default=0, help="of the shapes")
    parser.add_argument("--finalists", type=int, default=1, help="of our own in a race, of which the best counts")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--race-seconds", type=float, default=0.25, help="of a race in the default regime; see Regime")
    parser.add_argument("--seconds", type=float, default=3600.0, help="no race is begun after so many")
    parser.add_argument("--out", type=Path, default=Path("layers.json"))
    asked = parser.parse_args()
    if asked.read is None:
        run(asked)
    else:
        print(*told(json.loads(asked.read.read_text())["races"]), sep="\n")


if __name__ == "__main__":
    main()
