"""Why a problem has no answer after it was tuned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..kernels.families import is_deterministic
from ..kernels.problem import Problem
from .evaluate import Meter
from .store import Store, TrialQuery
from .study import fresh
from .trial import Outcome


def why_none(problem: Problem, meter: Meter, store: Store, *, deterministic: bool) -> str:
    """A sentence: that nothing can be tried, or how most of what was tried has ended."""
    stored = store.trials(TrialQuery(problem=problem, device=meter.device.name))
    failed = [one for one in fresh(stored, meter) if one.outcome is not Outcome.MEASURED]
    begin = f"no result for {problem} on {meter.device.name}"
    if not failed and any(not deterministic or is_deterministic(problem, config) for config in meter.space(problem)):
        return f"{begin}: the time was up before anything was measured: give it more with --budget (seconds, in Python)"
    if not failed:
        same = " that gives the same bits in every run" if deterministic else " and no library"
        return f"{begin}: there is no kernel{same} that takes it"
    ends = Counter((one.config.family, one.outcome, one.reason) for one in failed)
    (family, outcome, reason), count = ends.most_common(1)[0]
    ended = f"{count} of {len(failed)} trials, of {family}, ended as {outcome.value}"
    return f"{begin}: {ended}{f': {reason}' if reason else ''}"


def in_short(sentences: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = len(sentences) - 1
    return sentences[0] + (f"; and for {more} more problem{'s' if more > 1 else ''}" if more else "")
