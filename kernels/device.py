"""A device: the hardware that a config is tuned for, described by what limits a kernel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

REGISTERS_PER_SM: Final = 65536
MAX_REGISTERS_PER_THREAD: Final = 255


REPLAYED: Final = "replay"  # the arch of a recorded landscape, which stands for a device


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU (or, with arch `cpu`, the host).

    Attributes:
        name: as the driver gives it.
        arch: `sm90` for compute capability 9.0; `cpu` for a host, `replay` for recorded landscapes.
        sm_count: streaming multiprocessors.
        shared_memory_bytes: the most that one block may take (the opt-in limit).
        l2_bytes, memory_bytes: sizes of the L2 cache and of the device's memory.
        sm_clock_mhz, memory_clock_mhz, power_limit_w: maximum clocks and enforced power cap; 0 when not known.
    """

    name: str
    arch: str
    sm_count: int
    shared_memory_bytes: int
    l2_bytes: int
    memory_bytes: int
    sm_clock_mhz: int = 0
    memory_clock_mhz: int = 0
    power_limit_w: int = 0

    @property
    def capability(self) -> int:
        """90 for sm90; 0 for a host."""
        return int(self.arch[2:]) if self.arch.startswith("sm") else 0

    @property
    def slug(self) -> str:
        """The name as a folder: `nvidia-h200`."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


# Nominal devices to compile for on a machine without one. Shared memory per block: CUDA C++ Programming Guide,
# "Technical Specifications per Compute Capability"; SM counts and caches: the vendor's data sheets of the part named.
ARCHES: Final = MappingProxyType(
    {
        "sm80": Device("NVIDIA A100 (nominal)", "sm80", 108, 166_912, 40 << 20, 80 << 30),
        "sm86": Device("NVIDIA RTX A6000 (nominal)", "sm86", 84, 101_376, 6 << 20, 48 << 30),
        "sm89": Device("NVIDIA L40S (nominal)", "sm89", 142, 101_376, 96 << 20, 48 << 30),
        "sm90": Device("NVIDIA H100 (nominal)", "sm90", 132, 232_448, 50 << 20, 80 << 30),
        "sm100": Device("NVIDIA B200 (nominal)", "sm100", 148, 232_448, 126 << 20, 180 << 30),
        "sm120": Device("NVIDIA RTX 5090 (nominal)", "sm120", 170, 101_376, 96 << 20, 32 << 30),
    }
)


def nominal(arch: str) -> Device:
    """The nominal device of an architecture.

    Raises:
        ValueError: the architecture is not in `ARCHES`.
    """
    device = ARCHES.get(arch.lower().replace("_", ""))
    if device is None:
        raise ValueError(f"arch {arch!r} is not known: use one of {', '.join(ARCHES)}")
    return device
