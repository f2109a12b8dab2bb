"""What a device can do at best, as it was measured, and how near a result comes to that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ..kernels.device import Device
from ..kernels.problem import Problem


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The rates that a device reached in simple, large work. None where there is nothing to measure.

    Attributes:
        measured_at: with a time zone.
        copy_gbs: memory to memory on the device, bytes read and bytes written together.
        bf16_tflops, fp16_tflops, tf32_tflops, fp32_tflops: of the library, on a large square product.
        pinned_up_gbs, pinned_down_gbs: from page-locked host memory to the device, and back.
        pageable_up_gbs, pageable_down_gbs: from ordinary host memory, and back.
    """

    device: Device
    measured_at: datetime
    copy_gbs: float
    bf16_tflops: float | None = None
    fp16_tflops: float | None = None
    tf32_tflops: float | None = None
    fp32_tflops: float | None = None
    pinned_up_gbs: float | None = None
    pinned_down_gbs: float | None = None
    pageable_up_gbs: float | None = None
    pageable_down_gbs: float | None = None

    def tflops(self, dtype: str) -> float | None:
        """The peak for operands of that dtype; None for one whose peak is not measured."""
        peaks = {"bf16": self.bf16_tflops, "fp16": self.fp16_tflops, "tf32": self.tf32_tflops, "fp32": self.fp32_tflops}
        return peaks.get(dtype)


def roofline_us(problem: Problem, ceilings: Ceilings | None) -> float | None:
    """The least time, in us, that the device's measured rates leave: to multiply, or to move each byte once.

    None when nothing was measured for its dtype. Source: Williams, Waterman and Patterson, Roofline: an insightful
    visual performance model, CACM 52, 2009.
    """
    peak = ceilings.tflops(problem.dtype) if ceilings is not None else None
    if ceilings is None or peak is None:
        return None
    return max(problem.flops / (peak * 1e6), problem.bytes_moved / (ceilings.copy_gbs * 1e3))
