"""What a study has tried so far, by the number of the config."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study
from optuna.trial import TrialState

from .points import Points


class History:
    """The trials of one Optuna study, read as they are added, so that an ask costs what is new and not what is old.

    A finished trial is COMPLETE with the time in us, or a failure: PRUNED. A running one is pending. One that is FAIL
    was taken back: its config is open again.

    Attributes:
        open: [configs], True where neither tried nor pending.
        open_count: how many of those there are.
        tried: the configs whose trials ended, in the order of the trials.
        log_us: the natural logarithm of their times; infinite for a failure.
        pending: the configs asked and not yet told.
    """

    def __init__(self, points: Points) -> None:
        self._points = points
        self._unfinished: list[int] = []
        self._read = 0
        self.open: NDArray[np.bool_] = np.ones(len(points), dtype=np.bool_)
        self.open_count = len(points)
        self.tried: list[int] = []
        self.log_us: list[float] = []
        self.pending: list[int] = []

    def update(self, study: Study) -> None:
        """Read what the study has that is new. A trial whose parameters stand for no config does not count."""
        trials = study.get_trials(deepcopy=False)
        unread = [*self._unfinished, *range(self._read, len(trials))]
        self._read = len(trials)
        self._unfinished, self.pending = [], []
        for number in unread:
            trial = trials[number]
            index = self._points.at_params(trial.params)
            if not trial.state.is_finished():
                self._unfinished.append(number)
            if index is None:
                continue
            self._set_open(index, trial.state is TrialState.FAIL)
            if trial.state is TrialState.FAIL:
                continue
            if trial.state.is_finished():
                self.tried.append(index)
                done = trial.state is TrialState.COMPLETE and trial.value is not None
                self.log_us.append(math.log(trial.value) if done else math.inf)
            else:
                self.pending.append(index)

    def _set_open(self, index: int, is_open: bool) -> None:
        self.open_count += int(is_open) - int(self.open[index])
        self.open[index] = is_open
