"""One problem's search over the valid configs of a space: ask for a config, tell what it took."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import optuna
from optuna.trial import Trial, TrialState, create_trial

from ...kernels.config import Config
from ...kernels.space import Space
from .climb import ClimbSampler
from .gp import GPSampler
from .points import Points
from .samplers import ExhaustiveSampler, PointSampler, RandomSampler, SnappedTPESampler

SAMPLERS: Final[Mapping[str, Callable[[Points, int], PointSampler]]] = MappingProxyType(
    {
        "gp": GPSampler,
        "climb": ClimbSampler,
        "random": RandomSampler,
        "tpe": SnappedTPESampler,
        "exhaustive": ExhaustiveSampler,
    }
)

FROM_PRIOR: Final = 8


class Search:
    """A study over the valid configs of a space. No config is proposed twice, none that is invalid.

    Several asks may be outstanding before their tells. The same seed and the same order of asks and tells give the same
    configs.

    Args:
        space: what may be tried, of one family or of several.
        sampler: a name in `SAMPLERS`.
        seed: of the sampler.
        first: configs asked before the sampler is; what is not in the space, or is tried, is passed over.
        prior: what configs took on a near problem or another device; the fastest `FROM_PRIOR` that the space holds are
            asked after `first`.

    Raises:
        ValueError: the sampler is not known.
    """

    def __init__(
        self,
        space: Space,
        *,
        sampler: str = "gp",
        seed: int = 0,
        first: Sequence[Config] = (),
        prior: Sequence[tuple[Config, float]] = (),
    ) -> None:
        if sampler not in SAMPLERS:
            raise ValueError(f"sampler {sampler!r} is not known: use one of {', '.join(SAMPLERS)}")
        self._points = Points(space)
        self._sampler = SAMPLERS[sampler](self._points, seed)
        self._distributions = self._points.distributions()
        self._study = silent_study(self._sampler)
        known = [config for config, _ in sorted(prior, key=lambda result: result[1])]
        warm = [index for config in known if (index := self._points.index(config)) is not None][:FROM_PRIOR]
        asked = [index for config in first if (index := self._points.index(config)) is not None]
        self._first = deque(dict.fromkeys((*asked, *warm)))
        self._asked: dict[int, Trial] = {}

    def __len__(self) -> int:
        """How many configs have neither been tried nor asked."""
        history = self._sampler.history
        history.update(self._study)
        return history.open_count

    def ask(self) -> Config | None:
        """A valid config that was neither tried nor asked; None when none is left."""
        if not len(self):
            return None
        while self._first:
            index = self._first.popleft()
            if self._sampler.history.open[index]:
                self._study.enqueue_trial(self._points.params(index))
                break
        trial = self._study.ask(self._distributions)
        found = self._points.at_params(trial.params)
        if found is None:
            raise RuntimeError(f"sampler {self._sampler} left the space: {trial.params}")
        self._asked[found] = trial
        return self._points.config(found)

    def likely(self) -> Iterator[Config]:
        """What may be asked next, the likeliest first, found out when it is iterated; no more than what is to be asked
        before the sampler, where that cannot tell."""
        history = self._sampler.history
        history.update(self._study)
        yield from (self._points.config(index) for index in self._first if history.open[index])
        yield from map(self._points.config, self._sampler.likely())

    def tell(self, config: Config, time_us: float | None) -> None:
        """Say what `config` took in us, None when it failed. It need not have been asked.

        Raises:
            ValueError: the time is none, or the space does not hold the config, or it was told before.
        """
        if time_us is not None and not (math.isfinite(time_us) and time_us > 0):
            raise ValueError(f"time_us of {config} is {time_us!r}: a time is finite and above 0, a failure is None")
        index = self._points.index(config)
        if index is None:
            raise ValueError(f"{config} is not in the space of {len(self._points)} configs: tell what was asked")
        trial = self._asked.pop(index, None)
        # PRUNED, not FAIL: Optuna's samplers pass over FAIL trials and then propose the same point again.
        state = TrialState.PRUNED if time_us is None else TrialState.COMPLETE
        if trial is not None:
            self._study.tell(trial, time_us, state=state)
            return
        self._sampler.history.update(self._study)
        if not self._sampler.history.open[index]:
            raise ValueError(f"{config} was told before: a config is tried once")
        params = self._points.params(index)
        self._study.add_trial(
            create_trial(state=state, value=time_us, params=params, distributions=self._distributions)
        )

    def withdraw(self, config: Config) -> None:
        """Take back an ask that was not tried; `config` may be asked again.

        Raises:
            ValueError: it was not asked, or was told.
        """
        index = self._points.index(config)
        trial = self._asked.pop(index, None) if index is not None else None
        if trial is None:
            raise ValueError(f"{config} is not under way: take back what was asked and not told")
        self._study.tell(trial, state=TrialState.FAIL)

    def refill(self, results: Iterable[tuple[Config, float | None]]) -> None:
        """Tell what was found in an earlier run. What the space no longer holds and what is known already is passed
        over.

        Raises:
            ValueError: a time is none.
        """
        history = self._sampler.history
        for config, time_us in results:
            history.update(self._study)
            index = self._points.index(config)
            if index is not None and (index in self._asked or history.open[index]):
                self.tell(config, time_us)


def silent_study(sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    """An in-memory study, made without the line that Optuna logs for it."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(sampler=sampler)
    finally:
        optuna.logging.set_verbosity(level)
