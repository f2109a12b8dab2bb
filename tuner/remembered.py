"""What failed badly once is remembered: the same binary on the same device and toolchain is not tried again."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from ..kernels.access import Accesses
from ..kernels.config import Config
from ..kernels.problem import Problem
from .evaluate import Meter
from .store import Store, TrialQuery
from .trial import Outcome

# What costs a process, or is wrong. A config that does not compile or fit fails in a moment, and perhaps not elsewhere.
BAD: Final = (Outcome.WRONG, Outcome.CRASHED, Outcome.TIMED_OUT, Outcome.LAUNCH_FAILED)


def bad_elsewhere(problem: Problem, meter: Meter, store: Store) -> frozenset[Config]:
    """Configs that were bad on another problem of the meter's device, with today's toolchain and as the same binary.

    m, n and k are run-time arguments of a kernel: problems of one dtype, layout and epilogue share its binary, if
    their rows are aligned alike.
    """
    kind = _binary_kind(problem)
    failed = [
        trial
        for outcome in BAD
        for trial in store.trials(TrialQuery(device=meter.device.name, outcome=outcome))
        if trial.problem != problem
        and _binary_kind(trial.problem) == kind
        and trial.environment == meter.environment(trial.config)
    ]
    since: dict[tuple[Problem, Config], datetime] = {}  # when it was measured last, and did not fail
    for other in {trial.problem for trial in failed}:
        for trial in store.trials(TrialQuery(other, meter.device.name, outcome=Outcome.MEASURED)):
            if trial.environment == meter.environment(trial.config):
                key = trial.problem, trial.config
                since[key] = max(trial.started_at, since.get(key, trial.started_at))
    return frozenset(
        trial.config
        for trial in failed
        if since.get((trial.problem, trial.config), trial.started_at) <= trial.started_at
    )


def _binary_kind(problem: Problem) -> tuple[object, ...]:
    return problem.dtype, problem.out_dtype, problem.layout, problem.epilogue, Accesses.dense(problem)
