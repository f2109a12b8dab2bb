"""What failed badly once is remembered: the same binary on the same device and toolchain is not tried again."""

from __future__ import annotations

from typing import Final

from ..kernels.access import Accesses
from ..kernels.config import Config
from ..kernels.problem import Problem
from .evaluate import Meter
from .store import Store, TrialQuery
from .trial import Outcome, Trial

# What costs a process, or is wrong. A config that does not compile or fit fails in a moment, and perhaps not elsewhere.
BAD: Final = (Outcome.WRONG, Outcome.CRASHED, Outcome.TIMED_OUT, Outcome.LAUNCH_FAILED)


def bad_elsewhere(problem: Problem, meter: Meter, store: Store) -> frozenset[Config]:
    """Configs that were bad on another problem of the meter's device, with today's toolchain and as the same binary.

    m, n and k are run-time arguments of a kernel: problems of one dtype, layout and epilogue share its binary, if
    their rows are aligned alike.
    """
    kind = _binary_kind(problem)
    found: set[Config] = set()
    for outcome in BAD:
        for trial in store.trials(TrialQuery(device=meter.device.name, outcome=outcome)):
            other = trial.problem != problem and _binary_kind(trial.problem) == kind
            if other and trial.environment == meter.environment(trial.config) and not _measured_since(trial, store):
                found.add(trial.config)
    return frozenset(found)


def _measured_since(failed: Trial, store: Store) -> bool:
    """Whether the same was tried again, and did not fail."""
    query = TrialQuery(failed.problem, failed.device.name, config=failed.config, environment=failed.environment)
    return any(
        trial.outcome is Outcome.MEASURED and trial.started_at > failed.started_at for trial in store.trials(query)
    )


def _binary_kind(problem: Problem) -> tuple[object, ...]:
    return problem.dtype, problem.out_dtype, problem.layout, problem.epilogue, Accesses.dense(problem)
