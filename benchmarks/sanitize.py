"""Whether compute-sanitizer finds nothing in the families: memcheck and racecheck over a few small problems of each.

    python -P benchmarks/sanitize.py --out sanitize.json

The problems are the first of `benchmarks/correctness.py --small`, which are computed once without the tool, so that
all is compiled. Only the kernels of the family are looked at, not those that check them. For memcheck PyTorch's caching
of memory is off, for in memory that it keeps every address is a good one. All run at once, each within a limit. On some
systems that stand between a container and its GPU (gVisor) the tool says that the device is not supported: then this
says so too.
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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tilewright.benchmarks.drawn import SMALL, kinds
from tilewright.kernels.device import Device
from tilewright.kernels.families import FAMILIES, family
from tilewright.kernels.operands import current_device

TOOLS: Final = ("memcheck", "racecheck")
OPTIONS: Final = {"racecheck": ("--racecheck-report=all",)}
SUMMARY: Final = re.compile(r"(ERROR SUMMARY|RACECHECK SUMMARY): (.*)")
CLEAN: Final = re.compile(r"\b0 (errors|hazards displayed)\b")
BROKEN: Final = "Internal Sanitizer Error"
UNSUPPORTED: Final = "Device not supported"
PLACES: Final = ("/usr/local/cuda/bin", "/usr/local/cuda/compute-sanitizer")
LAST: Final = 3000  # characters of output that are kept when it is not clean


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a tool ended on a family: `clean`, `errors`, `not supported`, `the tool failed`, `failed` or `no end`."""

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


def kernel_names(name: str, device: Device, asked: argparse.Namespace) -> list[str]:
    """Of the kernels that the problems run."""
    one = family(name)
    known = kinds(one, device, seed=asked.seed, count=asked.kinds, shapes=SMALL)
    built = [one.binary(draw.problem, device, draw.config, draw.accesses()) for draw in known if one.binary]
    return sorted({binary.kernel.fn.__name__ for binary in built})


def checking(name: str, asked: argparse.Namespace, out: str) -> list[str]:
    """The command that computes the problems of a family."""
    script = str(Path(__file__).with_name("correctness.py"))
    numbers = ["--seed", str(asked.seed), "--count", str(asked.count), "--kinds", str(asked.kinds)]
    return [sys.executable, "-P", script, "--small", "--alone", "--family", name, *numbers, "--out", out]


def compiled(name: str, asked: argparse.Namespace) -> None:
    subprocess.run(checking(name, asked, os.devnull), check=True, timeout=asked.limit, capture_output=True)


def verdict(job: tuple[str, str, Sequence[str]], asked: argparse.Namespace) -> Verdict:
    name, tool, kernels = job
    filters = [f"--kernel-name=kns={kernel}" for kernel in kernels]
    command = [program(), f"--tool={tool}", *OPTIONS.get(tool, ()), *filters, *checking(name, asked, os.devnull)]
    environment = {**os.environ, **({"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"} if tool == "memcheck" else {})}
    started = time.monotonic()
    try:
        run = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=asked.limit)
    except subprocess.TimeoutExpired:
        return Verdict(name, tool, "no end", f"in {asked.limit:.0f} s", asked.limit)
    seconds, output = round(time.monotonic() - started, 1), run.stdout + run.stderr
    said = SUMMARY.findall(output)
    summary = said[-1][1] if said else ""
    if UNSUPPORTED in output:
        return Verdict(name, tool, "not supported", "this system hides the device from the tool", seconds)
    if BROKEN in output:
        return Verdict(name, tool, "the tool failed", summary, seconds, output[:LAST])
    if summary and CLEAN.search(summary) and run.returncode == 0:
        return Verdict(name, tool, "clean", summary, seconds)
    return Verdict(name, tool, "errors" if summary else "failed", summary, seconds, output[-LAST:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ours = [name for name, one in FAMILIES.items() if one.axes and one.runs_on == "gpu"]
    parser.add_argument("--family", nargs="+", default=ours)
    parser.add_argument("--tool", nargs="+", default=list(TOOLS))
    parser.add_argument("--count", type=int, default=16, help="problems a family")
    parser.add_argument("--kinds", type=int, default=6, help="compiled kernels a family")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=150.0, help="seconds for a family and a tool")
    parser.add_argument("--out", type=Path, default=Path("sanitize.json"))
    asked = parser.parse_args()
    program()
    device = current_device()
    with ThreadPoolExecutor(len(asked.family) * len(asked.tool)) as pool:
        list(pool.map(lambda name: compiled(name, asked), asked.family))
        jobs = [(name, tool, kernel_names(name, device, asked)) for name in asked.family for tool in asked.tool]
        verdicts = list(pool.map(lambda job: verdict(job, asked), jobs))
    for one in verdicts:
        print(f"{one.family} {one.tool}: {one.outcome} {one.summary} in {one.seconds:.0f} s", flush=True)
    document = {"device": device.name, "verdicts": [asdict(one) for one in verdicts]}
    asked.out.write_text(json.dumps(document, indent=1) + "\n")
    sys.exit(any(one.outcome in ("errors", "failed", "no end") for one in verdicts))


if __name__ == "__main__":
    main()
