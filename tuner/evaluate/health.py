"""What the driver says of a GPU: clocks, temperature, power, who else is on it. Nothing is ever set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import Any, Final

try:
    import pynvml
except ImportError:  # nvidia-ml-py is a dependency, but some images remove it
    pynvml = None

# Bits of nvmlDeviceGetCurrentClocksThrottleReasons (NVML API Reference, NvmlClocksEventReasons). That of an idle GPU,
# 0x1, says nothing of a measurement. The power cap is how a GPU works under load, not a fault.
_REASONS: Final = MappingProxyType(
    {
        0x2: "clocks set by hand",
        0x4: "power cap",
        0x8: "hardware slowdown",
        0x10: "sync boost",
        0x20: "heat (software)",
        0x40: "heat (hardware)",
        0x80: "power brake",
    }
)
_POLLUTING: Final = ("hardware slowdown", "heat (software)", "heat (hardware)", "power brake")


@dataclass(frozen=True, slots=True)
class Vitals:
    """None where the driver does not tell. Megahertz, degrees Celsius, watts; `throttle`: why clocks are held down."""

    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    throttle: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`1980 MHz, 34 C, 75 W, memory 3201 MHz`, and what holds the clocks down."""
        read = ((self.sm_clock_mhz, "MHz"), (self.temperature_c, "C"), (self.power_w, "W"))
        told = [f"{number:.0f} {unit}" for number, unit in read if number is not None]
        if self.memory_clock_mhz is not None:
            told.append(f"memory {self.memory_clock_mhz} MHz")
        if self.throttle:
            told.append(f"clocks held down by {' and '.join(self.throttle)}")
        return ", ".join(told) or "nothing is told"

    @property
    def pollution(self) -> tuple[str, ...]:
        """What makes a reading worthless: heat and power faults."""
        return tuple(f"slowed down by {reason}" for reason in self.throttle if reason in _POLLUTING)


class Monitor:
    """Reads one GPU through NVML. Without NVML, or on a host, every reading is None.

    Args:
        pci_bus_id: of the GPU; None for a host.
        strangers: processes that were on a GPU before this one was; those that come later are strangers too, but for
            the first, which is this one: in a container NVML's numbers are not those that a process sees of itself.
        nvml: the library, for tests.
    """

    def __init__(
        self, pci_bus_id: str | None, strangers: frozenset[int] = frozenset(), nvml: ModuleType | None = pynvml
    ) -> None:
        self._nvml = nvml if pci_bus_id is not None else None
        self._handle: Any = None
        self._strangers = strangers
        self._ours: frozenset[int] = frozenset()
        if self._nvml is None:
            return
        try:
            self._nvml.nvmlInit()
            self._handle = self._nvml.nvmlDeviceGetHandleByPciBusId((pci_bus_id or "").encode())
        except self._nvml.NVMLError:
            self._nvml = None

    def driver(self) -> str:
        return str(self._nvml.nvmlSystemGetDriverVersion()) if self._nvml is not None else ""

    def limits(self) -> tuple[int, int, int]:
        """Maximum SM clock and memory clock in MHz, enforced power cap in W; 0 where not told."""
        nvml = self._nvml
        if nvml is None:
            return 0, 0, 0
        sm = self._read(lambda: int(nvml.nvmlDeviceGetMaxClockInfo(self._handle, nvml.NVML_CLOCK_SM)))
        memory = self._read(lambda: int(nvml.nvmlDeviceGetMaxClockInfo(self._handle, nvml.NVML_CLOCK_MEM)))
        power = self._read(lambda: round(nvml.nvmlDeviceGetEnforcedPowerLimit(self._handle) / 1000))
        return sm or 0, memory or 0, power or 0

    def vitals(self) -> Vitals:
        nvml = self._nvml
        if nvml is None:
            return Vitals()
        bits = self._read(lambda: int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle))) or 0
        return Vitals(
            self._read(lambda: int(nvml.nvmlDeviceGetClockInfo(self._handle, nvml.NVML_CLOCK_SM))),
            self._read(lambda: int(nvml.nvmlDeviceGetClockInfo(self._handle, nvml.NVML_CLOCK_MEM))),
            self._read(lambda: int(nvml.nvmlDeviceGetTemperature(self._handle, nvml.NVML_TEMPERATURE_GPU))),
            self._read(lambda: nvml.nvmlDeviceGetPowerUsage(self._handle) / 1000),
            tuple(reason for bit, reason in _REASONS.items() if bits & bit),
        )

    def settle(self) -> None:
        """To be called once when this process is on the GPU: whoever came since the strangers were counted is us."""
        self._ours = self._processes() - self._strangers

    def pollution(self) -> tuple[str, ...]:
        """What makes a reading that has just ended worthless: heat, or others at work at the same time."""
        working = self._working() - self._ours
        others = (f"{_count(working)} at work",) if working and self._ours else ()
        return (*self.vitals().pollution, *others)

    def concerns(self) -> tuple[str, ...]:
        """What one should know before a GPU is measured; empty when there is nothing."""
        nvml = self._nvml
        if nvml is None:
            return ()
        found = list(self.vitals().pollution)
        others = self._processes() - self._ours
        if others:
            found.append(f"{_count(others)} on this GPU")
        if self._read(lambda: nvml.nvmlDeviceGetMigMode(self._handle)[0]):
            found.append("MIG is on: this is a part of a GPU")
        cap = self._read(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(self._handle) / 1000)
        usual = self._read(lambda: nvml.nvmlDeviceGetPowerManagementDefaultLimit(self._handle) / 1000)
        if cap and usual and cap < usual:
            found.append(f"the power cap is {cap:.0f} W, {usual:.0f} W by default")
        return tuple(found)

    def _processes(self) -> frozenset[int]:
        nvml = self._nvml
        if nvml is None:
            return frozenset()
        running = self._read(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)) or ()
        return frozenset(int(process.pid) for process in running)

    def _working(self) -> frozenset[int]:
        """The processes that have used multiprocessors within the last second or so."""
        nvml = self._nvml
        if nvml is None:
            return frozenset()
        samples = self._read(lambda: nvml.nvmlDeviceGetProcessUtilization(self._handle, 0)) or ()
        newest = max((int(sample.timeStamp) for sample in samples), default=0)
        recent = (sample for sample in samples if int(sample.timeStamp) > newest - _RECENT_US)
        return frozenset(int(sample.pid) for sample in recent if sample.smUtil > 0)

    def _read(self, query: Any) -> Any:
        nvml = self._nvml
        if nvml is None:
            return None
        try:
            return query()
        except nvml.NVMLError:
            return None


_RECENT_US: Final = 1_000_000


def _count(processes: frozenset[int]) -> str:
    return "another process" if len(processes) == 1 else f"{len(processes)} other processes"


def gpu_count() -> int:
    """How many NVIDIA GPUs the driver shows; 0 without a driver. Needs no CUDA and no torch."""
    if pynvml is None:
        return 0
    try:
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return 0


def monitors() -> list[Monitor]:
    """One for each GPU that the driver shows, by its index."""
    found = []
    for index in range(gpu_count()):
        bus_id = pynvml.nvmlDeviceGetPciInfo(pynvml.nvmlDeviceGetHandleByIndex(index)).busId
        found.append(Monitor(bus_id.decode() if isinstance(bus_id, bytes) else bus_id))  # bytes before 11.5
    return found


def strangers() -> frozenset[int]:
    """The processes that compute on any GPU here, as NVML numbers them; to be asked before one is used."""
    found: set[int] = set()
    for index in range(gpu_count()):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            found |= {int(process.pid) for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)}
        except pynvml.NVMLError:
            continue
    return frozenset(found)


def host_concerns() -> tuple[str, ...]:
    """What one should know before the host is measured: whether others are at work on it."""
    cores, load = os.cpu_count() or 1, os.getloadavg()[0]
    return (f"load average {load:.1f} on {cores} cores: others are at work",) if load > cores / 2 else ()


def driver_version() -> str:
    """As in 580.159.04; empty without a driver."""
    if pynvml is None:
        return ""
    try:
        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return ""
