"""The program of the measuring process: checks, times and races configs on one device; may be killed at any moment."""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch
import triton
from triton.runtime.errors import OutOfResources

from ...kernels import families
from ...kernels.device import Device
from ...kernels.operands import current_device
from ..roofline import Ceilings
from ..trial import Check, Measurement, Outcome
from .bench import Bench, Prepared, Times
from .ceilings import measure
from .health import Monitor, Vitals, host_concerns, strangers
from .messages import (
    CeilingsRequest,
    Evaluated,
    EvaluateRequest,
    Hello,
    Raced,
    RaceRequest,
    ReadRequest,
    Welcome,
)
from .process import serve
from .regime import DEFAULT, regime_of
from .stress import described
from .transfers import read_lanes

# Of the best speed so far: one that is slower after so many paired readings has no business in a final.
_SLOW: Final = {1: 0.5, 2: 0.8}
_MAY_WIN: Final = 0.9  # of the best speed: single readings err by far less
_REASON_AT_MOST: Final = 600
_OF_THE_HOST: Final = "DefaultCPUAllocator: can't allocate memory"  # a RuntimeError of torch's and no class of its own


class Server:
    """Answers requests about one device; whatever fails is an answer."""

    def __init__(self, where: str, seed: int, regime: str = DEFAULT) -> None:
        self._where = where
        self._seed = seed
        self._regime = regime_of(regime)
        self._vitals: Vitals | None = None
        if where == "cpu":
            self._monitor = Monitor(None)
        else:
            before = strangers()
            torch.cuda.set_device(int(where))
            torch.ones(1, device=f"cuda:{where}").item()
            self._monitor = Monitor(_pci_bus_id(int(where)), before)
            self._monitor.settle()

    @cached_property
    def device(self) -> Device:
        if self._where == "cpu":
            return host()
        sm, memory, power = self._monitor.limits()
        found = current_device(int(self._where))
        return replace(found, sm_clock_mhz=sm, memory_clock_mhz=memory, power_limit_w=power)

    @cached_property
    def bench(self) -> Bench:
        torch_device = "cpu" if self._where == "cpu" else f"cuda:{self._where}"
        bench = Bench(self.device, torch_device, self._seed, self._regime)
        bench.pace.watch = self._look
        return bench

    def answer(self, request: object) -> object:
        match request:
            case Hello():
                return self._welcome()
            case EvaluateRequest():
                return self._evaluate(request)
            case RaceRequest():
                return self._race(request)
            case ReadRequest():
                return self._read(request)
            case CeilingsRequest():
                return self._ceilings()
        raise TypeError(f"request {request!r} is none that a measuring process knows")

    def _welcome(self) -> Welcome:
        cuda = torch.version.cuda or ""
        versions = (triton.__version__, torch.__version__, cuda, self._monitor.driver(), platform.python_version())
        concerns = host_concerns() if self._where == "cpu" else self._monitor.concerns()
        return Welcome(self.device, *versions, concerns)

    def _evaluate(self, request: EvaluateRequest) -> Evaluated:
        checks: list[Check] = []
        try:
            return self._evaluate_on(self.bench.prepare(request.problem), request, checks)
        except (OutOfResources, torch.OutOfMemoryError, MemoryError) as error:
            return Evaluated(Outcome.OUT_OF_RESOURCES, _line(error), tuple(checks))
        except (RuntimeError, ValueError, TypeError) as error:
            outcome = Outcome.OUT_OF_RESOURCES if _OF_THE_HOST in str(error) else Outcome.LAUNCH_FAILED
            return Evaluated(outcome, _line(error), tuple(checks), fatal=self._context_lost())

    def _evaluate_on(self, prepared: Prepared, request: EvaluateRequest, checks: list[Check]) -> Evaluated:
        """`checks` are there for whoever catches what this raises."""
        checks += self.bench.check(prepared, request.config)
        if not checks[-1].passed:
            return Evaluated(Outcome.WRONG, str(checks[-1]), tuple(checks))
        before = self.bench.pace.seconds
        times, spoilt = self._time(prepared, request)
        read_s = self.bench.pace.seconds - before
        measurement = self._measurement(times, spoilt)
        if self._may_win(request, measurement):
            often = self.bench.stress(prepared, request.config)
            checks.append(often)
            if not often.passed:
                return Evaluated(Outcome.WRONG, described(often), tuple(checks), read_s=read_s)
        return Evaluated(Outcome.MEASURED, "", tuple(checks), measurement, read_s=read_s, round_s=times.round_s)

    def _may_win(self, request: EvaluateRequest, measurement: Measurement) -> bool:
        """Whether it is so near to the best that a race could crown it: then it has to be right every time."""
        if families.family(request.config.family).is_library or not request.problem.flops:
            return False
        return measurement.speed is None or measurement.speed >= _MAY_WIN * request.best_speed

    def _time(self, prepared: Prepared, request: EvaluateRequest) -> tuple[Times, tuple[str, ...]]:
        """Readings, and what spoilt them; those that were spoilt are read a second time."""

        def worth(read: int, speed: float) -> bool:
            return speed >= _SLOW[read] * request.best_speed

        self._vitals = None
        times = self.bench.time(prepared, request.config, worth)
        if not self._monitor.pollution():
            return times, ()
        return self.bench.time(prepared, request.config, worth), self._monitor.pollution()

    def _look(self) -> None:
        self._vitals = self._monitor.vitals()

    def _measurement(self, times: Times, spoilt: tuple[str, ...]) -> Measurement:
        seen = self._vitals or self._monitor.vitals()
        return Measurement(
            times.times_us,
            self._regime.protocol,
            times.reference_us,
            sm_clock_mhz=seen.sm_clock_mhz,
            temperature_c=seen.temperature_c,
            power_w=seen.power_w,
            memory_clock_mhz=seen.memory_clock_mhz,
            throttle=seen.throttle,
            warnings=spoilt,
        )

    def _race(self, request: RaceRequest) -> Raced:
        before = self.bench.pace.seconds
        try:
            prepared = self.bench.prepare(request.problem)
            times, rested = self.bench.race(prepared, list(request.configs), request.rounds, request.seconds)
        except (OutOfResources, RuntimeError, ValueError, TypeError) as error:
            return Raced((), reason=_line(error), fatal=self._context_lost())
        read_s, spoilt = self.bench.pace.seconds - before, self._monitor.pollution()
        return Raced(tuple(map(tuple, times)), tuple(map(tuple, rested)), read_s=read_s, warnings=spoilt)

    def _read(self, request: ReadRequest) -> Raced:
        until = time.monotonic() + request.seconds
        try:
            times = read_lanes(self.bench, request, lambda: time.monotonic() > until)
        except (OutOfResources, RuntimeError, ValueError, TypeError) as error:
            return Raced((), reason=_line(error), fatal=self._context_lost())
        return Raced(tuple(tuple(lane) for lane in times), warnings=self._monitor.pollution())

    def _ceilings(self) -> Ceilings:
        self.bench.release()
        return measure(self.device, "cpu" if self._where == "cpu" else f"cuda:{self._where}")

    def _context_lost(self) -> bool:
        """Whether CUDA still works here: an illegal access ruins the whole process."""
        if self._where == "cpu":
            return False
        try:
            torch.cuda.synchronize()
            torch.ones(1, device=f"cuda:{self._where}").item()
        except RuntimeError:
            return True
        return False


def host() -> Device:
    """This machine's CPU: its logical cores as `sm_count`, its last-level cache as `l2_bytes`."""
    described = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"model name\s*:\s*(.+)", described)
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Device(
        name=model.group(1).strip() if model else platform.processor() or platform.machine(),
        arch="cpu",
        sm_count=torch.get_num_threads(),
        shared_memory_bytes=0,
        l2_bytes=_last_level_cache_bytes(),
        memory_bytes=pages * page,
    )


def _last_level_cache_bytes() -> int:
    sizes = [path.read_text().strip() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return max((int(size[:-1]) * units[size[-1]] for size in sizes if size[-1:] in units), default=32 << 20)


def _pci_bus_id(index: int) -> str:
    properties: Any = torch.cuda.get_device_properties(index)  # the stubs lack half of it
    return f"{properties.pci_domain_id:08x}:{properties.pci_bus_id:02x}:{properties.pci_device_id:02x}.0"


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:_REASON_AT_MOST]


def main() -> None:
    serve(Server(sys.argv[2], int(sys.argv[3]), sys.argv[4]).answer)


if __name__ == "__main__":
    # Under its full name, so that what it sends is of the classes that the other end knows.
    from .server import main as served

    served()
