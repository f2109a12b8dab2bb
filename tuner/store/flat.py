"""Trials as a flat table, a line each, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

from ...kernels.families import is_deterministic
from ..trial import Resources, Trial
from .codec import axes_text
from .pack import instant_text

COLUMNS: Final = (
    *("m", "n", "k", "dtype", "layout", "out_dtype", "epilogue", "device", "arch", "family", "axes", "deterministic"),
    "outcome",
    *("median_us", "tflops", "speed", "protocol", "started_at"),
    *("registers", "spill_bytes", "shared_memory_bytes", "compile_seconds"),
    *("triton", "torch", "cuda", "driver", "python", "kernel_hash", "commit", "reason"),
)


def csv_text(trials: Iterable[Trial]) -> str:
    """A header and a line a trial; what there is none of is empty, axes are JSON, `speed` is beside the library."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_row(trial) for trial in trials)
    return text.getvalue()


def _row(trial: Trial) -> Sequence[object]:
    problem, made, median_us = trial.problem, trial.environment, trial.median_us
    return (
        *(*problem.shape, problem.dtype, problem.layout, problem.out_dtype, problem.epilogue),
        *(trial.device.name, trial.device.arch, trial.config.family, axes_text(trial.config)),
        *(int(is_deterministic(problem, trial.config)), trial.outcome.value),
        *(median_us, None if median_us is None else problem.flops / median_us / 1e6),
        *((trial.measurement.speed, trial.measurement.protocol) if trial.measurement else (None, None)),
        instant_text(trial.started_at),
        *_resources(trial.resources),
        *(made.triton, made.torch, made.cuda, made.driver, made.python, made.kernel_hash, made.commit, trial.reason),
    )


def _resources(had: Resources | None) -> tuple[float | None, ...]:
    if had is None:
        return (None,) * 4
    return had.registers, had.spill_bytes, had.shared_memory_bytes, had.compile_seconds
