"""Whether the families compute the right thing, and nothing else: thousands of random problems on the GPU.

    python -P benchmarks/correctness.py --out correctness.json
    python -P benchmarks/correctness.py --family split_k --index 1234 --seed 0

Each family gets problems of every kind that it takes: tiny, ragged, with a huge k, few rows, many tiles; all dtypes,
layouts and epilogues; rows that are padded, start anywhere, have no unit stride, are one and the same, or lie more than
2**31 elements apart; infinities and NaN among the inputs. A few dozen configs serve them, compiled ahead by all cores.

Of each problem it is looked at, on the GPU, whether D is what a sum in fp32 (fp64 for inputs of 32 bits) says, NaN for
NaN; whether a single bit of the memory around D has changed; and whether three more launches give the same bits, some
of them on another stream while a third one keeps the GPU busy. What lies around A, B and a residual is NaN, so that
what is read there shows. A family runs in a process of its own, all at once: one that hangs or crashes is told by the
problems that it was at.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from tilewright.benchmarks.checked import Checker, Memory
from tilewright.benchmarks.drawn import SHAPES, SMALL, Draw, draw_of, key, kinds, seed_of
from tilewright.kernels.device import Device
from tilewright.kernels.families import FAMILIES, family
from tilewright.kernels.family import Family
from tilewright.kernels.operands import current_device

OURS: Final = tuple(name for name, one in FAMILIES.items() if one.axes and one.runs_on == "gpu")
BATCH: Final = 256  # problems between two looks at what was found
TOLD: Final = 40  # failures of a family that are written down
HARMLESS: Final = ("right", "refused", "no memory")


@dataclass(slots=True)
class Found:
    """Of one family: how many problems ended how, of what they were, and the first that failed."""

    family: str
    outcomes: Counter[str] = field(default_factory=Counter)
    covered: dict[str, Counter[str]] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    kinds: int = 0
    seconds: float = 0.0

    def cover(self, draw: Draw) -> None:
        one = draw.problem
        for what, value in (
            ("shape", draw.shape), ("dtype", one.dtype), ("out_dtype", one.out_dtype), ("layout", one.layout),
            ("epilogue", one.epilogue), ("special", str(draw.special)),
            ("a", draw.forms[0]), ("b", draw.forms[1]), ("d", draw.forms[2]),
        ):  # fmt: skip
            self.covered.setdefault(what, Counter())[value] += 1

    def fail(self, outcome: str, index: int, what: str) -> None:
        self.outcomes[outcome] += 1
        if len(self.failures) < TOLD:
            self.failures.append({"outcome": outcome, "index": index, "what": what})

    def document(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in Found.__slots__}


def shapes_of(asked: argparse.Namespace) -> tuple[str, ...]:
    return SMALL if asked.small else tuple(SHAPES)


def known_to(one: Family, asked: argparse.Namespace, device: Device) -> list[Draw]:
    return kinds(one, device, seed=asked.seed, count=asked.kinds, shapes=shapes_of(asked))


def run_family(name: str, asked: argparse.Namespace, device: Device) -> Found:
    """Draws and checks until so many were computed; what is refused does not count."""
    found, one, started = Found(name), family(name), time.monotonic()
    shapes, known = shapes_of(asked), known_to(one, asked, device)
    found.kinds, checker, memory = len(known), Checker(device), Memory(0)
    pending: list[tuple[int, Draw, torch.Tensor]] = []
    broken: set[object] = set()
    index = served = 0
    while served < asked.count and index < 3 * asked.count and known:
        draw = draw_of(one, device, known, seed=asked.seed, index=index, shapes=shapes)
        if (machine_code := key(one, device, draw)) not in broken:
            memory.generator.manual_seed(seed_of(one, asked.seed, index))
            try:
                verdict = checked(checker, draw, memory, asked, index)
            except torch.OutOfMemoryError:  # rows far apart take gigabytes, in each family's process
                torch.cuda.empty_cache()
                found.outcomes["no memory"] += 1
            except Exception as error:  # a failure is data; one of the driver ends this process here
                broken.add(machine_code)
                found.fail("raised", index, f"{draw}: {type(error).__name__} {str(error)[:400]}")
                torch.cuda.synchronize()
            else:
                served += not isinstance(verdict, str)
                keep(found, pending, (index, draw), verdict)
        if len(pending) == BATCH:
            take(found, pending)
            found.seconds = time.monotonic() - started
            write(asked.out, found.document())
        index += 1
    take(found, pending)
    found.seconds = time.monotonic() - started
    return found


def checked(checker: Checker, draw: Draw, memory: Memory, asked: argparse.Namespace, index: int) -> torch.Tensor | str:
    """What the checker says, of every eighth problem with other work beside it; with `--once`, of a launch alone."""
    if not asked.once:
        return checker.check(draw, memory, beside=index % 8 == 0)
    verdict = checker.check(draw, memory, beside=False, repeats=0)
    torch.cuda.synchronize()
    return verdict


def keep(
    found: Found, pending: list[tuple[int, Draw, torch.Tensor]], what: tuple[int, Draw], verdict: torch.Tensor | str
) -> None:
    if isinstance(verdict, str):
        found.outcomes["refused"] += 1
        found.refusals[verdict.partition(":")[2].strip()] += 1
    else:
        pending.append((*what, verdict))


def take(found: Found, pending: list[tuple[int, Draw, torch.Tensor]]) -> None:
    """Waits for what is under way, and counts it."""
    counts = torch.stack([verdict for _, _, verdict in pending]).tolist() if pending else []
    for (index, draw, _), (wrong, beside, differing) in zip(pending, counts, strict=True):
        found.cover(draw)
        for outcome, count in (("wrong", wrong), ("wrote beside D", beside), ("differs", differing)):
            if count:
                found.fail(outcome, index, f"{draw}: {count} elements")
        found.outcomes["right"] += not (wrong or beside or differing)
    pending.clear()


def compile_ahead(device: Device, asked: argparse.Namespace) -> list[str]:
    """Into Triton's cache, by all cores; what did not compile."""
    jobs = [(name, draw, device) for name in asked.family for draw in known_to(family(name), asked, device)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max(1, (os.cpu_count() or 2) - 1), mp_context=context) as pool:
        under_way = [pool.submit(compile_one, *job) for job in jobs]
        return [reason for done in as_completed(under_way) if (reason := done.result())]


def compile_one(name: str, draw: Draw, device: Device) -> str:
    from tilewright.kernels.binary import compile_binary

    build = family(name).binary
    try:
        if build is not None:
            compile_binary(build(draw.problem, device, draw.config, draw.accesses()), device.capability)
    except Exception as error:  # a failure is data
        return f"{draw}: {type(error).__name__} {str(error)[:400]}"
    return ""


def run_all(asked: argparse.Namespace, device: Device) -> dict[str, Any]:
    """A process a family, all at once; each writes what it found into a file beside the common one."""
    started = time.monotonic()
    uncompiled = compile_ahead(device, asked)
    compiled_s = time.monotonic() - started
    print(
        f"{device.name}: compiled in {compiled_s:.0f} s, {len(uncompiled)} did not", *uncompiled, sep="\n", flush=True
    )
    own = ["--seed", str(asked.seed), "--count", str(asked.count), "--kinds", str(asked.kinds)]
    own += ["--small"] * asked.small
    running: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}
    for name in asked.family:
        path = asked.out.with_name(f".{name.replace(':', '.')}.{asked.out.name}")
        path.unlink(missing_ok=True)
        command = [sys.executable, "-P", __file__, "--alone", "--family", name, *own, "--out", str(path)]
        running[name] = subprocess.Popen(command), path
    until, documents = time.monotonic() + asked.seconds, {}
    for name, (process, path) in running.items():
        documents[name] = ended(name, process, path, until)
    return {
        "device": device.name,
        "command": f"benchmarks/correctness.py --seed {asked.seed} --count {asked.count} --kinds {asked.kinds}",
        "compile_seconds": round(compiled_s, 1),
        "not_compiled": uncompiled,
        "families": documents,
    }


def ended(name: str, process: subprocess.Popen[bytes], path: Path, until: float) -> dict[str, Any]:
    try:
        why = f"ended with {process.wait(max(1.0, until - time.monotonic()))}"
    except subprocess.TimeoutExpired:
        process.kill()
        why = "did not end in time"
    document: dict[str, Any] = json.loads(path.read_text()) if path.exists() else Found(name).document()
    path.unlink(missing_ok=True)
    if why != "ended with 0":
        done = sum(document["outcomes"].values())
        document["failures"].append({"outcome": "lost", "index": done, "what": f"{why}, {done} to {done + BATCH}"})
        document["outcomes"]["lost"] = 1
    return document


def tell_one(name: str, asked: argparse.Namespace, device: Device) -> None:
    """One problem again, with the first element that is wrong."""
    one, known = family(name), known_to(family(name), asked, device)
    draw = draw_of(one, device, known, seed=asked.seed, index=asked.index, shapes=shapes_of(asked))
    print(draw, flush=True)
    memory = Memory(seed_of(one, asked.seed, asked.index))
    found = Checker(device).check(draw, memory, beside=asked.index % 8 == 0)
    if isinstance(found, str):
        print(f"refused: {found}")
    else:
        wrong, beside, differing = found.tolist()
        print(f"{wrong} elements wrong, {beside} changed around D, {differing} other in repeats")


def write(path: Path | None, document: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(document, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", nargs="+", default=list(OURS), help="or package.module:NAME")
    parser.add_argument("--count", type=int, default=5000, help="problems a family")
    parser.add_argument("--kinds", type=int, default=48, help="compiled kernels a family")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--index", type=int, help="one problem of one family again")
    parser.add_argument("--small", action="store_true", help="small shapes only, as for compute-sanitizer")
    parser.add_argument("--once", action="store_true", help="one launch of each, which is waited for")
    parser.add_argument("--seconds", type=float, default=300.0, help="for all, what was compiled before not counted")
    parser.add_argument("--alone", action="store_true", help="one family, in this process, with nothing compiled ahead")
    parser.add_argument("--out", type=Path, default=Path("correctness.json"))
    asked = parser.parse_args()
    device = current_device()
    if asked.index is not None:
        tell_one(asked.family[0], asked, device)
        return
    if asked.alone:
        write(asked.out, run_family(asked.family[0], asked, device).document())
        return
    document = run_all(asked, device)
    write(asked.out, document)
    failed = 0
    for name, one in document["families"].items():
        failed += sum(count for outcome, count in one["outcomes"].items() if outcome not in HARMLESS)
        print(f"{name}: {one['outcomes']} with {one['kinds']} kernels in {one['seconds']:.0f} s", flush=True)
        for failure in one["failures"][:5]:
            print(f"  --family {name} --seed {asked.seed} --index {failure['index']}: {failure['outcome']}: "
                  f"{failure['what']}", flush=True)  # fmt: skip
    sys.exit(1 if failed or document["not_compiled"] else 0)


if __name__ == "__main__":
    main()
