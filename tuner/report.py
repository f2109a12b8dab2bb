"""A report on one device's results, as Markdown: what was raced, against what, with which outcome."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import geometric_mean
from typing import Final

from ..kernels.config import Config
from ..kernels.device import Device
from ..kernels.problem import MAX_EXTENT, Problem
from .landscape import Landscape
from .ratio import is_ahead, is_tie
from .roofline import Ceilings
from .store import Store
from .store.ranking import Ranked, ranking
from .trial import Environment, Outcome, Ratio

_NEAR_BEST: Final = 1.02


def report(store: Store, device: Device, landscapes: Iterable[tuple[str, Landscape]] = ()) -> str:
    """Markdown on everything that is stored for a device, and on landscapes recorded on it (name, landscape).

    Raises:
        ValueError: nothing was raced on that device.
    """
    raced = [found for problem in store.problems() if (found := _raced(store, problem, device)) is not None]
    if not raced:
        raise ValueError(f"{store.name} holds no race on {device.name}: tune a problem on it first")
    environments = dict.fromkeys(_toolchain(ours.environment) for ours, _ in raced)
    parts = [
        f"# {device.name}",
        _hardware(device),
        *(_ceilings(one) for one in store.ceilings(device.name)[:1]),
        "Toolchain: " + "; ".join(environments) + ".",
        "## Winners against cuBLAS",
        _PROTOCOL,
        _winners(raced),
        _summary(raced),
    ]
    known = dict(landscapes)
    recorded = [_landscape_row(name, landscape) for name, landscape in known.items()]
    if recorded:
        parts += ["## Landscapes", _LANDSCAPES, _table(_LANDSCAPE_COLUMNS, recorded)]
    exhausted = [_exhausted(ours, known[ours.problem.key]) for ours, _ in raced if ours.problem.key in known]
    if exhausted:
        rows = [(found.problem, *found.cells()) for found in exhausted]
        parts += [
            "## Winners against exhaustive bests",
            _EXHAUSTED,
            _table(_EXHAUSTED_COLUMNS, rows),
            _reached(exhausted),
        ]
    return "\n\n".join(parts) + "\n"


_PROTOCOL: Final = (
    "The fastest kernel of our own for each problem, raced against cuBLAS (`torch.mm`): replayed in turn, round after "
    "round, in CUDA graphs over rotating random inputs larger than the L2. The ratio is the median over rounds of "
    "cuBLAS's time over ours, with an interval that holds with 95% confidence for all lanes of the race together. "
    "Above 1 ours is faster; `tie` is within 1%. Times are at the clock that cuBLAS ran at. `roofline` is the least "
    "time that the device's measured rates leave, as a share of ours. Where a race under load left several level, ours "
    "is the best by the mean of that and of readings after a rest."
)
_ROWS: Final = (("up to 64", 0, 64), ("up to 1024", 65, 1024), ("beyond", 1025, MAX_EXTENT))
_LANDSCAPES: Final = (
    "Exhaustively measured spaces, one CSV a problem. Times are at one clock: the library's median over the recording, "
    "divided by the config's paired speed. A config that was slower than half of the best so far was read once."
)
_LANDSCAPE_COLUMNS: Final = ("problem", "configs", "failed", "library us", "best us", "best of library", "within 2%")

_EXHAUSTED: Final = (
    "What tuning kept, beside the best of the exhaustively measured space of the same problem. `recorded` compares the "
    "two on that recording; a winner of a family that the recording does not hold has none. `by the library` compares "
    "their speeds, each as a multiple of the library's: the winner's in its race, the best's in the recording. The "
    "recording is of another day, holds the families of that day and none that came later, and its best, the least of "
    "many readings, is flattered by noise."
)
_EXHAUSTED_COLUMNS: Final = ("problem", "winner", "best recorded", "recorded", "by the library")
_REACHED: Final = 0.98


@dataclass(frozen=True, slots=True)
class _Exhausted:
    """A winner beside the best of an exhaustive recording.

    Attributes:
        recorded: the best's recorded time over the winner's; None where the winner was not recorded.
        by_library: the winner's speed over the best's, both as multiples of the library's.
    """

    problem: str
    winner: Config
    best: Config
    recorded: float | None
    by_library: float | None

    @property
    def reached(self) -> bool:
        share = self.by_library if self.recorded is None else self.recorded
        return share is not None and share >= _REACHED

    def cells(self) -> tuple[str, ...]:
        shares = ("-" if share is None else f"{share:.3f}" for share in (self.recorded, self.by_library))
        return (_config(self.winner), _config(self.best), *shares)


def _exhausted(ours: Ranked, landscape: Landscape) -> _Exhausted:
    times = {config: reading.time_us for config, reading in landscape.readings.items() if reading.time_us is not None}
    library = next((time for config, time in times.items() if not config.items_by_axis), None)
    best = min((config for config in times if config.items_by_axis), key=times.__getitem__)
    recorded = times.get(ours.config)
    return _Exhausted(
        ours.problem.key,
        ours.config,
        best,
        None if recorded is None else times[best] / recorded,
        None if library is None or ours.ratio is None else ours.ratio.median * times[best] / library,
    )


def _reached(found: Sequence[_Exhausted]) -> str:
    below = [one.problem for one in found if not one.reached]
    told = f"; below it: {', '.join(below)}." if below else "."
    return (
        f"At {_REACHED} or better on {len(found) - len(below)} of {len(found)} problems, by the recording where it "
        f"holds the winner, else by the library{told}"
    )


def _raced(store: Store, problem: Problem, device: Device) -> tuple[Ranked, Ranked] | None:
    """Our best and the library, of the latest race."""
    ranked = [one for one in ranking(store, problem, device.name, count=64) if one.raced and one.ratio is not None]
    ours = next((one for one in ranked if one.config.items_by_axis), None)
    library = next((one for one in ranked if not one.config.items_by_axis), None)
    return None if ours is None or library is None else (ours, library)


def _hardware(device: Device) -> str:
    return (
        f"{device.arch}, {device.sm_count} multiprocessors, {device.memory_bytes / 2**30:.0f} GiB, L2 "
        f"{device.l2_bytes / 2**20:.0f} MiB, {device.shared_memory_bytes} bytes of shared memory a block, clocks up to "
        f"{device.sm_clock_mhz} MHz (memory {device.memory_clock_mhz} MHz), power cap {device.power_limit_w} W."
    )


def _ceilings(found: Ceilings) -> str:
    rates = {
        "copies {:.0f} GB/s": found.copy_gbs,
        "bf16 {:.0f} TFLOP/s": found.bf16_tflops,
        "fp16 {:.0f}": found.fp16_tflops,
        "tf32 {:.0f}": found.tf32_tflops,
        "fp32 {:.1f}": found.fp32_tflops,
        "pinned memory up {:.0f} GB/s": found.pinned_up_gbs,
        "down {:.0f}": found.pinned_down_gbs,
        "pageable up {:.1f}": found.pageable_up_gbs,
        "and down {:.1f} GB/s": found.pageable_down_gbs,
    }
    told = ", ".join(text.format(rate) for text, rate in rates.items() if rate is not None)
    return f"At best, as measured: {told}."


def _toolchain(environment: Environment) -> str:
    return (
        f"Triton {environment.triton}, PyTorch {environment.torch}, CUDA {environment.cuda}, driver "
        f"{environment.driver}, Python {environment.python}"
    )


def _winners(raced: Sequence[tuple[Ranked, Ranked]]) -> str:
    rows = [
        (
            ours.problem.key,
            f"{library.median_us:.1f} ({library.tflops:.0f})",
            f"{ours.median_us:.1f} ({ours.tflops:.0f})",
            f"{ours.ratio}{' tie' if ours.is_tie else ''}",
            "-" if ours.of_roofline is None else f"{ours.of_roofline:.0%}",
            _config(ours.config),
        )
        for ours, library in raced
    ]
    return _table(("problem", "cuBLAS us (TFLOP/s)", "ours us (TFLOP/s)", "ratio", "roofline", "config"), rows)


def _summary(raced: Sequence[tuple[Ranked, Ranked]]) -> str:
    ratios = [(ours.problem.m, ours.ratio) for ours, _ in raced if ours.ratio is not None]
    every = [ratio for _, ratio in ratios]
    ahead, ties = sum(map(is_ahead, every)), sum(map(is_tie, every))
    behind = sum(ratio.high < 1 and not is_tie(ratio) for ratio in every)
    by_rows = [
        f"{_mean(some)} with m {named} ({len(some)})"
        for named, least, most in _ROWS
        if (some := [ratio for m, ratio in ratios if least <= m <= most])
    ]
    undecided = len(every) - ahead - behind - ties
    return (
        f"Geometric mean {_mean(every)} over {len(every)} problems: {', '.join(by_rows)}. Ahead of cuBLAS with "
        f"confidence on {ahead}, behind on {behind}, a tie on {ties}, undecided on {undecided}."
    )


def _mean(ratios: Sequence[Ratio]) -> str:
    return f"{geometric_mean(ratio.median for ratio in ratios):.3f}"


def _landscape_row(name: str, landscape: Landscape) -> tuple[str, ...]:
    times = {config: reading.time_us for config, reading in landscape.readings.items() if reading.time_us is not None}
    library = next((time for config, time in times.items() if not config.items_by_axis), None)
    ours = [time for config, time in times.items() if config.items_by_axis]
    failed = sum(reading.outcome is not Outcome.MEASURED for reading in landscape.readings.values())
    best = min(ours)
    return (
        name,
        str(len(landscape.readings) - (library is not None)),
        str(failed),
        "-" if library is None else f"{library:.1f}",
        f"{best:.1f}",
        "-" if library is None else f"{library / best:.3f}",
        str(sum(time <= _NEAR_BEST * best for time in ours)),
    )


def _config(config: Config) -> str:
    return f"{config.family}: " + " ".join(f"{axis}={value}" for axis, value in config.items())


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
