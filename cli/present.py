"""How values are shown: tables for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.console import Console
from rich.table import Table

from ..kernels.config import Config
from ..kernels.device import Device
from ..kernels.problem import Problem
from ..kernels.space import SearchSpace
from ..tuner.ratio import is_tie
from ..tuner.store.query import Answer, Origin, Ranked
from ..tuner.trial import Outcome, Ratio, Resources, Trial

if TYPE_CHECKING:
    from ..tuner.evaluate.compiler import Built
    from ..tuner.evaluate.meter import Spending
    from ..tuner.explain import Explanation
    from ..tuner.verify import Verdict

# Where nobody looks, lines are not broken: a log or a pipe has no width of its own.
UNBROKEN: Final = 240
_AGES: Final = (("day", 86400), ("h", 3600), ("min", 60), ("s", 1))


@functools.cache
def console() -> Console:
    # What is printed is data: a reason with `[...]` in it is no markup.
    plainly = functools.partial(Console, markup=False, emoji=False, highlight=False)
    shown = plainly()
    return shown if shown.is_terminal else plainly(width=UNBROKEN)


def print_json(value: Any) -> None:
    console().out(json.dumps(plain(value), indent=2, allow_nan=False))


def plain(value: Any) -> Any:
    """`value` as JSON has it: a value's fields and what it derives from them, under their own names.

    Times are ISO 8601, a config is its family and its axes, and a number that is not finite is null.
    """
    if isinstance(value, Config):
        return {"family": value.family, "axes": dict(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value)]
        derived = [name for name in dir(type(value)) if isinstance(getattr(type(value), name), property)]
        return {name: plain(getattr(value, name)) for name in (*fields, *derived)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(one) for one in value]
    return value


def axes_text(config: Config) -> str:
    return " ".join(f"{axis}={value}" for axis, value in config.items()) or "-"


def ratio_text(ratio: Ratio | None, reference: Config | None = None) -> str:
    """`1.031 [1.027, 1.035]`, with `tie` when nobody would notice, and with the reference if that is not cuBLAS."""
    if ratio is None:
        return "-"
    against = f" of {reference.family}" if reference is not None and reference.family != "cublas" else ""
    return f"{ratio}{against}{' tie' if is_tie(ratio) else ''}"


def age(moment: datetime, now: datetime | None = None) -> str:
    """How long ago: `5 min ago`."""
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    for name, length in _AGES:
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name}{'s' if name == 'day' else ''} ago"
    return "just now"


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> Table:
    """A table whose columns are text; one that begins with `>` is aligned to the right."""
    built = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left")
    for column in columns:
        built.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
    for row in rows:
        built.add_row(*row)
    return built


def answer_table(answer: Answer) -> Table:
    """The winner of one problem and its runners-up."""
    winner = answer.winner
    rows = [
        (str(place), ranked.config.family, *_speed(ranked), axes_text(ranked.config), _where_from(ranked))
        for place, ranked in enumerate((winner, *answer.runners_up), 1)
    ]
    columns = (">", "family", ">us", ">TFLOP/s", ">roofline", "of cuBLAS", "config", "from")
    return table(f"{answer.problem} on {winner.device.name}", columns, rows, _measured(winner))


def answers_table(answers: Iterable[Answer]) -> Table:
    """The winner of each problem."""
    rows = [
        (
            answer.problem.key,
            answer.winner.config.family,
            *_speed(answer.winner),
            axes_text(answer.winner.config),
            f"{_where_from(answer.winner)}, {answer.winner.device.name}, {age(answer.winner.measured_at)}",
        )
        for answer in answers
    ]
    return table("", ("problem", "family", ">us", ">TFLOP/s", ">roofline", "of cuBLAS", "config", "from"), rows)


def trials_table(problem: Problem, trials: Sequence[Trial]) -> Table:
    """All that was tried on one problem."""
    rows = [
        (
            trial.config.family,
            axes_text(trial.config),
            trial.outcome.value,
            "-" if trial.median_us is None else f"{trial.median_us:.1f}",
            *_resources(trial.resources),
            age(trial.started_at),
            trial.reason,
        )
        for trial in trials
    ]
    columns = ("family", "config", "outcome", ">us", ">registers", ">spills", ">shared", "when", "reason")
    counts = Counter(trial.outcome for trial in trials)
    summary = ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome if outcome in counts)
    return table(problem.key, columns, rows, f"{len(trials)} trials{': ' if trials else ''}{summary}")


def print_explanation(found: Explanation) -> None:
    """One problem's space: its limits, its axes, what may be left."""
    rows = [
        (
            one.family,
            str(one.combinations),
            str(one.valid),
            ", ".join(f"{name} {count}" for name, count in one.rejected) or "-",
        )
        for one in found.limits
    ]
    title = f"{found.problem} on {found.device.name}: what limits the space"
    console().print(table(title, ("family", ">combinations", ">valid", "rejected by"), rows))
    if found.importance:
        shares = [(axis, f"{share:.0%}") for axis, share in found.importance]
        console().print(table("Which axes mattered to the fastest tenth", ("axis", ">share"), shares))
    valid = f"of {found.size} valid configs" if found.size else "configs"
    tried = f"{found.tried} {valid} tried, {found.failed} failed."
    if not found.size:
        console().print(f"{tried} None is valid on {found.device.arch}, so nothing can be said of those left.")
    elif found.expected_gain is None:
        console().print(f"{tried} Too few to say what is left: tune it.")
    else:
        console().print(f"{tried} The best untried one is expected to gain {found.expected_gain:.2%} over the best.")


def verdicts_table(verdicts: Sequence[Verdict]) -> Table:
    """What became of the stored winners."""
    rows = [
        (
            verdict.problem.key,
            verdict.change.value,
            ratio_text(verdict.before.ratio),
            "-" if verdict.after is None else ratio_text(verdict.after.ratio),
            "-" if verdict.after is None else f"{verdict.after.config.family} {axes_text(verdict.after.config)}",
            "; ".join(f"{config}: {reason}" for config, reason in verdict.failed),
        )
        for verdict in verdicts
    ]
    regressed = sum(verdict.regressed for verdict in verdicts)
    caption = f"{len(verdicts)} verified, {regressed} regressed"
    return table("", ("problem", "change", "before", "now", "winner now", "failed"), rows, caption)


def built_table(problem: Problem, device: Device, built: Sequence[Built]) -> Table:
    """What the compiler made of one problem's configs."""
    rows = [
        (
            one.job.config.family,
            axes_text(one.job.config),
            *_resources(one.resources),
            f"{one.resources.compile_seconds:.2f}" if one.resources else "-",
            one.reason or "compiled",
        )
        for one in built
    ]
    columns = ("family", "config", ">registers", ">spills", ">shared", ">seconds", "outcome")
    good = sum(not one.reason for one in built)
    caption = f"{good} of {len(built)} compiled; a block may take {device.shared_memory_bytes} bytes of shared memory"
    return table(f"{problem} for {device.arch}", columns, rows, caption)


def spending_text(spending: Spending) -> str:
    """What the readings cost, against what it would have cost to read every candidate in full."""
    share = spending.spent_s / spending.in_full_s
    return (
        f"Readings took {spending.spent_s:.1f} s of the device: {share:.0%} of the {spending.in_full_s:.1f} s that "
        "every "
        "candidate in full, in all the rounds of a race, would have taken."
    )


def roofline_text(of_roofline: float | None) -> str:
    """How near a result is to what the device can do: `84%`."""
    return "-" if of_roofline is None else f"{of_roofline:.0%}"


def why_empty(space: SearchSpace) -> str:
    """Why a space has no valid config: the rejection of the config that comes closest to being one."""
    rejections = (space.rejection(config) for config in space.product())
    found = [rejection for rejection in rejections if rejection is not None]
    names = Counter(rejection.constraint for rejection in found)
    return str(min(found, key=lambda one: (-names[one.constraint], one.amount - one.limit)))


def _speed(ranked: Ranked) -> tuple[str, str, str, str]:
    near = roofline_text(ranked.of_roofline)
    return f"{ranked.median_us:.1f}", f"{ranked.tflops:.1f}", near, ratio_text(ranked.ratio, ranked.reference)


def _where_from(ranked: Ranked) -> str:
    """Why this answers: `exact`, `near: 16x6144x4096-bf16-nt`, `stale: triton 3.6.0, now 3.7.1`."""
    told = ranked.origin.value
    if ranked.origin is Origin.NEAR:
        told = f"{told}: {ranked.problem}"
    if ranked.stale:
        told = f"{told}: {'; '.join(ranked.stale)}" if ranked.origin is Origin.STALE else f"{told}, stale"
    return told if ranked.raced else f"{told}, not raced"


def _measured(ranked: Ranked) -> str:
    made = ranked.environment
    known = (("triton", made.triton), ("torch", made.torch), ("CUDA", made.cuda), ("driver", made.driver))
    toolchain = ", ".join(f"{name} {value}" for name, value in known if value) or "toolchain not recorded"
    when = f"{age(ranked.measured_at)} ({ranked.measured_at:%Y-%m-%d %H:%M} UTC)"
    race = f"\nrace: {ranked.verdict}" if ranked.verdict else ""
    return f"measured {when} by {ranked.protocol}: {toolchain}{race}"


def _resources(had: Resources | None) -> tuple[str, str, str]:
    return (str(had.registers), str(had.spill_bytes), str(had.shared_memory_bytes)) if had else ("-", "-", "-")
