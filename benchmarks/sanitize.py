"""Whether compute-sanitizer finds nothing in the families: memcheck and racecheck over a few small problems of each.

    python -P benchmarks/sanitize.py --out sanitize.json

The problems are the first of `benchmarks/correctness.py --small`, which are computed once without the tool, so that
all is compiled. Only the kernels of the family are looked at, not those that check them. For memcheck PyTorch's caching
of memory is off, for in memory that it keeps every address is a good one. Racecheck gets one launch of each and nothing
beside it: on a second stream the tool (2025.3) breaks off with an internal error. All run at once, each within a limit.
On some systems that stand between a container and its GPU (gVisor) the tool says that the device is not supported: then
this says so too.

Of kernels in partitions racecheck reports hazards on a table of Triton's (see `hazards`): they are counted apart, and
no others. Beside the families it judges a kernel whose partitions share nothing, and one whose partitions race: where
it does not find that, what it says of partitions is no evidence.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from tilewright.benchmarks import partitions
from tilewright.benchmarks.drawn import SMALL, kinds
from tilewright.benchmarks.hazards import of_table, table_reads
from tilewright.kernels.binary import compile_binary
from tilewright.kernels.device import Device
from tilewright.kernels.families import FAMILIES, family
from tilewright.kernels.operands import current_device

TOOLS: Final = ("memcheck", "racecheck")
OPTIONS: Final = {"racecheck": ("--show-backtrace=no",)}
ONCE: Final = {"racecheck": ("--once",)}
# No families: partitions that share nothing, and two of which one reads what the other writes.
CONTROL, RACING_CONTROL = "partitions", "racing partitions"
SUMMARY: Final = re.compile(r"(?:ERROR SUMMARY|RACECHECK SUMMARY): (.*)")
CLEAN: Final = re.compile(r"\b0 errors\b")
BROKEN: Final = "Internal Sanitizer Error"
UNSUPPORTED: Final = "Device not supported"
PLACES: Final = ("/usr/local/cuda/bin", "/usr/local/cuda/compute-sanitizer")
KEPT: Final = 3000  # characters of a tool's output, where it is of use


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a tool ended on a family: `clean`, `errors`, `not supported`, `the tool failed`, `failed` or `no end`; of the
    race that is planted, `found` or `not found`; and `no evidence` is a clean one that tells nothing."""

    family: str
    tool: str
    outcome: str
    summary: str
    seconds: float
    output: str = ""


def program() -> str:
    """compute-sanitizer, as it is found.

    Raises:
        SystemExit: it is not there.
    """
    found = shutil.which("compute-sanitizer", path=os.pathsep.join((os.environ.get("PATH", ""), *PLACES)))
    if found is None:
        raise SystemExit("compute-sanitizer is not there: install the CUDA toolkit, or put it on the PATH")
    return found


@dataclass(frozen=True, slots=True)
class Job:
    """A tool over the kernels that a command runs.

    Attributes:
        reads: where these kernels read which partition is a warp's.
    """

    family: str
    tool: str
    kernels: tuple[str, ...]
    reads: frozenset[int]
    command: tuple[str, ...]


def job(name: str, tool: str, device: Device, asked: argparse.Namespace) -> Job:
    """Over the problems of a family, whose kernels are compiled."""
    one = family(name)
    known = kinds(one, device, seed=asked.seed, count=asked.kinds, shapes=SMALL)
    built = [one.binary(draw.problem, device, draw.config, draw.accesses()) for draw in known if one.binary]
    cubins = [compile_binary(binary, device.capability).asm["cubin"] for binary in built] if tool == "racecheck" else []
    names = tuple(sorted({binary.kernel.fn.__name__ for binary in built}))
    reads = frozenset[int]().union(*map(table_reads, cubins))
    return Job(name, tool, names, reads, (*checking(name, asked), *ONCE.get(tool, ())))


def control(capability: int, *, racing: bool) -> Job:
    """Racecheck over `benchmarks/partitions.py`."""
    command = (sys.executable, "-P", str(Path(partitions.__file__)), *([partitions.RACE] if racing else []))
    reads = table_reads(partitions.compiled(capability, racing=racing).asm["cubin"])
    name = partitions.partitions_kernel.fn.__name__
    return Job(RACING_CONTROL if racing else CONTROL, "racecheck", (name,), reads, command)


def checking(name: str, asked: argparse.Namespace) -> tuple[str, ...]:
    """The command that computes the problems of a family."""
    script = str(Path(__file__).with_name("correctness.py"))
    numbers = ("--seed", str(asked.seed), "--count", str(asked.count), "--kinds", str(asked.kinds))
    return (sys.executable, "-P", script, "--small", "--alone", "--family", name, *numbers, "--out", os.devnull)


def compiled(name: str, asked: argparse.Namespace) -> None:
    """Computes the problems of a family without a tool.

    Raises:
        CalledProcessError, TimeoutExpired: that already fails, and nothing that a tool says would be of use.
    """
    subprocess.run(checking(name, asked), check=True, timeout=asked.limit, capture_output=True)


def verdict(one: Job, limit_s: float) -> Verdict:
    filters = [f"--kernel-name=kns={kernel}" for kernel in one.kernels]
    command = [program(), f"--tool={one.tool}", *OPTIONS.get(one.tool, ()), *filters, *one.command]
    environment = {**os.environ, **({"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"} if one.tool == "memcheck" else {})}
    started = time.monotonic()
    try:
        run = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        return Verdict(one.family, one.tool, "no end", f"in {limit_s:.0f} s", limit_s)
    seconds, output = round(time.monotonic() - started, 1), run.stdout + run.stderr
    outcome, summary = judged(one, output, run.returncode)
    return Verdict(one.family, one.tool, outcome, summary, seconds, kept(one, outcome, output))


def judged(one: Job, output: str, code: int) -> tuple[str, str]:
    """(Outcome, summary) of what the tool printed, and of the exit code."""
    said = SUMMARY.findall(output)
    summary = said[-1] if said else ""
    if UNSUPPORTED in output:
        return "not supported", "this system hides the device from the tool"
    if BROKEN in output:
        return "the tool failed", summary
    if not summary or code:
        return "errors" if summary else "failed", summary
    if one.tool != "racecheck":
        return "clean" if CLEAN.search(summary) else "errors", summary
    hazards, of_tables = of_table(output, one.reads)
    clean, found = ("not found", "found") if one.family == RACING_CONTROL else ("clean", "errors")
    outcome = clean if hazards == of_tables else found
    return outcome, f"{hazards - of_tables} hazards" + (f", and {of_tables} on Triton's table" if of_tables else "")


def kept(one: Job, outcome: str, output: str) -> str:
    """Of what the tool printed: the beginning where it broke off, all where it reports hazards that do not count."""
    if outcome == "the tool failed":
        return output[:KEPT]
    if outcome in ("clean", "not found") and not (one.tool == "racecheck" and one.reads):
        return ""
    return output[-KEPT:]


def weighed(verdicts: Sequence[Verdict], jobs: Sequence[Job]) -> list[Verdict]:
    """The verdicts, less what racecheck says of partitions where it has not found the race that was planted there."""
    if not any(one.family == RACING_CONTROL and one.outcome == "not found" for one in verdicts):
        return list(verdicts)
    nothing = [
        job.tool == "racecheck" and job.reads and one.outcome == "clean"
        for one, job in zip(verdicts, jobs, strict=True)
    ]
    return [replace(one, outcome="no evidence") if no else one for one, no in zip(verdicts, nothing, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ours = [name for name, one in FAMILIES.items() if one.axes and one.runs_on == "gpu"]
    parser.add_argument("--family", nargs="+", default=ours)
    parser.add_argument("--tool", nargs="+", default=list(TOOLS))
    parser.add_argument("--count", type=int, default=8, help="problems a family")
    parser.add_argument("--kinds", type=int, default=6, help="compiled kernels a family")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=150.0, help="seconds for a family and a tool")
    parser.add_argument("--out", type=Path, default=Path("sanitize.json"))
    asked = parser.parse_args()
    program()
    device = current_device()
    with ThreadPoolExecutor(len(asked.family) * len(asked.tool) + 2) as pool:
        list(pool.map(lambda name: compiled(name, asked), asked.family))
        jobs = [job(name, tool, device, asked) for name in asked.family for tool in asked.tool]
        if "racecheck" in asked.tool and device.capability == 90:
            jobs += [control(device.capability, racing=racing) for racing in (False, True)]
        verdicts = list(pool.map(lambda one: verdict(one, asked.limit), jobs))
    verdicts = weighed(verdicts, jobs)
    for one in verdicts:
        print(f"{one.family} {one.tool}: {one.outcome} {one.summary} in {one.seconds:.0f} s", flush=True)
    document = {"device": device.name, "verdicts": [asdict(one) for one in verdicts]}
    asked.out.write_text(json.dumps(document, indent=1) + "\n")
    sys.exit(any(one.outcome in ("errors", "failed", "no end") for one in verdicts))


if __name__ == "__main__":
    main()
