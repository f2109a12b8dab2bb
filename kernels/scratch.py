"""Memory that a kernel needs beside its operands, shared by the calls of one stream."""

from __future__ import annotations

import torch


class Scratch:
    """Grows to the largest need and is reused. Calls that share one must run one after another (one stream)."""

    def __init__(self, device: torch.device | str) -> None:
        self._device = device
        self._partials = torch.empty(0, dtype=torch.float32, device=device)
        self._counters = torch.zeros(0, dtype=torch.int32, device=device)

    def partials(self, count: int) -> torch.Tensor:
        """At least `count` fp32 values, not initialized."""
        if self._partials.numel() < count:
            self._partials = torch.empty(count, dtype=torch.float32, device=self._device)
        return self._partials

    def counters(self, count: int) -> torch.Tensor:
        """At least `count` int32 zeros; whoever counts on one leaves it at zero."""
        if self._counters.numel() < count:
            self._counters = torch.zeros(count, dtype=torch.int32, device=self._device)
        return self._counters
