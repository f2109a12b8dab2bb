"""`tilewright doctor`: what this machine has, what works on it, and how to get what is missing."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from .. import __version__
from ..kernels.device import Device, nominal
from ..kernels.problem import Problem
from .options import db_option, json_option

if TYPE_CHECKING:
    from ..kernels.family import Family

# What a family is asked to have configs for: a decode step of a layer, a small batch, a gradient with a long k, and a
# prompt, with an activation and without. Each family is for one of them at least.
PROBES: Final = (
    Problem(16, 4096, 4096),
    Problem(512, 4096, 4096),
    Problem(512, 4096, 1 << 15),
    Problem(4096, 4096, 4096, epilogue="bias+gelu"),
    Problem(4096, 4096, 4096),
)


class State(StrEnum):
    """OK works; ABSENT is not here, and all but what needs it works; BROKEN must be mended."""

    OK = "ok"
    ABSENT = "absent"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Attributes:
        found: what there is, or why there is none.
        remedy: how to get it; empty when nothing is to be done.
    """

    what: str
    state: State
    found: str
    remedy: str = ""


@click.command()
@db_option
@json_option
def doctor(*, db: str, as_json: bool) -> None:
    """Show what this machine has, and how to get the rest.

    Ends with 1 when something is broken. A GPU that is not there is not broken.

    \b
    Examples:
      tilewright doctor
      tilewright doctor --json
    """
    from . import present

    findings = list(examine(db))
    if as_json:
        present.print_json(findings)
    else:
        rows = [(one.what, one.state.value, one.found, one.remedy) for one in findings]
        present.console().print(present.table("", ("what", "state", "found", "what to do"), rows))
    if any(finding.state is State.BROKEN for finding in findings):
        sys.exit(1)


def examine(db: str) -> Iterator[Finding]:
    """Everything that tuning depends on, one finding after the other."""
    yield Finding("python", State.OK, f"{platform.python_version()} at {sys.executable}")
    yield Finding("tilewright", State.OK, f"{__version__} at {Path(__file__).parents[1]}")
    yield from (_package(name) for name in ("torch", "triton"))
    gpus = _gpus()
    yield from gpus
    yield from _health()
    yield _torch_sees_a_gpu(any(finding.state is State.OK for finding in gpus))
    device = _device()
    yield _compiler(device or nominal("sm90"))
    yield _host_compiler()
    yield _cache()
    yield _store(db)
    yield from _families(device or nominal("sm90"), here=device is not None)


def _package(name: str) -> Finding:
    try:
        return Finding(name, State.OK, version(name))
    except PackageNotFoundError:
        return Finding(name, State.BROKEN, "not installed", f"pip install {name}")


def _gpus() -> list[Finding]:
    """What the driver tells, without torch: NVML works where torch was built without CUDA."""
    try:
        import pynvml
    except ImportError:
        return [Finding("GPU", State.BROKEN, "nvidia-ml-py is not installed", "pip install nvidia-ml-py")]
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        remedy = "tuning for real needs an NVIDIA GPU and its driver; compiling, replaying and querying do not"
        return [Finding("GPU", State.ABSENT, f"NVML: {error}", remedy)]
    driver = f"driver {pynvml.nvmlSystemGetDriverVersion()}, CUDA {pynvml.nvmlSystemGetCudaDriverVersion() / 1000:g}"
    handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    found = [Finding(f"GPU {index}", State.OK, f"{_gpu(handle)}; {driver}") for index, handle in enumerate(handles)]
    pynvml.nvmlShutdown()
    return found or [Finding("GPU", State.ABSENT, f"{driver}, and no GPU", "give this machine or container a GPU")]


def _gpu(handle: object) -> str:
    import pynvml

    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle).total / 2**30
    return f"{pynvml.nvmlDeviceGetName(handle)}, sm{major}{minor}, {memory:.0f} GiB"


def _health() -> Iterator[Finding]:
    """What a measurement would suffer from, on each GPU and on the host."""
    from ..tuner.evaluate.health import host_concerns, monitors

    for index, monitor in enumerate(monitors()):
        yield _fitness(f"GPU {index} health", str(monitor.vitals()), monitor.concerns())
    yield _fitness("host health", f"{os.cpu_count()} cores", host_concerns())


def _fitness(what: str, told: str, concerns: tuple[str, ...]) -> Finding:
    return Finding(what, State.OK, "; ".join((told, *(concerns or ("nothing that would spoil a measurement",)))))


def _torch_sees_a_gpu(there_is_one: bool) -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("torch on GPU", State.OK, f"CUDA {torch.version.cuda}, {torch.cuda.device_count()} GPU(s)")
    built = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built without CUDA"
    if there_is_one:
        remedy = "install a torch that matches the driver: https://pytorch.org/get-started/locally"
        return Finding("torch on GPU", State.BROKEN, f"{built} and sees no GPU", remedy)
    return Finding("torch on GPU", State.ABSENT, f"{built}; there is no GPU to see")


def _device() -> Device | None:
    """The GPU that would be tuned."""
    import torch

    from ..kernels.operands import current_device

    return current_device() if torch.cuda.is_available() else None


def _compiler(device: Device) -> Finding:
    from ..kernels.families import FAMILIES
    from ..tuner.evaluate.compiler import CompilePool, Job, compile_all

    config = FAMILIES["tiled"].defaults(PROBES[-1], device)[0]
    pool = CompilePool(device, jobs=1)
    try:
        (built,) = compile_all(device, [Job(PROBES[-1], config)], pool)
    finally:
        pool.close()
    if built.resources is None:
        return Finding("compiler", State.BROKEN, built.reason, "reinstall triton, as it is pinned in constraints.txt")
    return Finding("compiler", State.OK, f"{device.arch} in {built.resources.compile_seconds:.2f} s (0 when cached)")


def _host_compiler() -> Finding:
    """Triton builds its launcher with the machine's C compiler when a kernel first runs."""
    found = os.environ.get("CC") or next(filter(None, map(shutil.which, ("gcc", "clang", "cc"))), None)
    if found:
        return Finding("C compiler", State.OK, found)
    return Finding(
        "C compiler", State.ABSENT, "no gcc, clang or cc on the PATH", "needed on a GPU: install gcc, or set CC"
    )


def _cache() -> Finding:
    from triton import knobs

    folder = Path(knobs.cache.dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return Finding(
            "kernel cache", State.BROKEN, f"{folder}: {error.strerror}", "set TRITON_CACHE_DIR to a folder of yours"
        )
    return Finding("kernel cache", State.OK, f"{folder}, {shutil.disk_usage(folder).free / 2**30:.0f} GiB free")


def _store(db: str) -> Finding:
    from ..tuner.store import StoreError, open_store

    if "://" not in db and not Path(db).exists():
        return Finding("trials", State.OK, f"{db} is not there yet: tuning creates it")
    try:
        with open_store(db, readonly=True) as store:
            problems, devices = store.problems(), store.devices()
    except StoreError as error:
        return Finding("trials", State.BROKEN, str(error), "give another one with --db or TILEWRIGHT_DB")
    return Finding("trials", State.OK, f"{db}: {len(problems)} problems on {len(devices)} devices")


def _families(gpu: Device, *, here: bool) -> Iterator[Finding]:
    """`here`: the GPU is in this machine, and not one to compile for."""
    from ..kernels.families import FAMILIES
    from ..tuner.evaluate.server import host

    for family in FAMILIES.values():
        on_host = family.runs_on == "cpu"
        yield _family(family, host() if on_host else gpu, here=here or on_host)


def _family(family: Family, device: Device, *, here: bool) -> Finding:
    from .present import why_empty

    spaces = [family.space(problem, device) for problem in PROBES]
    configs = max(map(len, spaces))
    what = f"family {family.name}"
    if not configs:
        (why, _), *_ = Counter(map(why_empty, spaces)).most_common()
        return Finding(what, State.ABSENT, f"not on {device.arch}: {why}")
    counted = "a library" if family.is_library else f"{configs} configs"
    if not here:
        does = "needs a GPU" if family.is_library else "compiles here, runs on a GPU"
        return Finding(what, State.ABSENT, f"{counted} for {device.arch}; {does}")
    return Finding(what, State.OK, f"{counted} on {device.arch}")
