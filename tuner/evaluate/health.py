"""What the driver says of a GPU while it works: clocks, temperature, power. Nothing is ever set."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

try:
    import pynvml
except ImportError:  # nvidia-ml-py is a dependency, but some images remove it
    pynvml = None


@dataclass(frozen=True, slots=True)
class Vitals:
    """None where the driver does not tell. Megahertz, degrees Celsius, watts."""

    sm_clock_mhz: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None


class Monitor:
    """Reads one GPU through NVML. Without NVML, or on a host, every reading is None."""

    def __init__(self, pci_bus_id: str | None) -> None:
        self._nvml: ModuleType | None = pynvml if pci_bus_id is not None else None
        self._handle: Any = None
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
        return Vitals(
            self._read(lambda: int(nvml.nvmlDeviceGetClockInfo(self._handle, nvml.NVML_CLOCK_SM))),
            self._read(lambda: int(nvml.nvmlDeviceGetTemperature(self._handle, nvml.NVML_TEMPERATURE_GPU))),
            self._read(lambda: nvml.nvmlDeviceGetPowerUsage(self._handle) / 1000),
        )

    def _read(self, query: Any) -> Any:
        nvml = self._nvml
        if nvml is None:
            return None
        try:
            return query()
        except nvml.NVMLError:
            return None


def gpu_count() -> int:
    """How many NVIDIA GPUs the driver shows; 0 without a driver. Needs no CUDA and no torch."""
    if pynvml is None:
        return 0
    try:
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return 0
