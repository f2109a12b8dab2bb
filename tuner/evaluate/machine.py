"""This machine: its GPU, if it has one, and its host, both ready to be measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from .health import gpu_count
from .live import LiveMeter
from .meter import MeterOptions

NO_GPU: Final = "no NVIDIA GPU here"


@dataclass(frozen=True, slots=True)
class Machine:
    """`gpu` is None where there is none."""

    gpu: LiveMeter | None
    cpu: LiveMeter

    @property
    def concerns(self) -> tuple[str, ...]:
        """What one should know before it is measured, a line each."""
        meters = [meter for meter in (self.gpu, self.cpu) if meter is not None]
        return tuple(f"{meter.device.name}: {'; '.join(meter.concerns)}" for meter in meters if meter.concerns)


@contextmanager
def this_machine(options: MeterOptions) -> Iterator[Machine]:
    """Opens the first GPU and the host, and closes them again.

    Raises:
        MeterError: a device does not answer.
    """
    cpu = LiveMeter("cpu", options)
    gpu = None
    try:
        gpu = LiveMeter("0", options) if gpu_count() else None
        yield Machine(gpu, cpu)
    finally:
        cpu.close()
        if gpu is not None:
            gpu.close()
