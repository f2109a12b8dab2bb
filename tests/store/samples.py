"""Trials and races to keep, plain ones and generated ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from tilewright.kernels.config import Config
from tilewright.kernels.device import ARCHES, Device, nominal
from tilewright.kernels.families import FAMILIES
from tilewright.kernels.problem import DTYPES, LAYOUTS, OUT_DTYPES, Problem
from tilewright.tuner.roofline import Ceilings
from tilewright.tuner.trial import Check, Environment, Lane, Measurement, Outcome, Race, Resources, Trial

PROBLEM = Problem(512, 4096, 4096)
DEVICE = nominal("sm90")
ENVIRONMENT = Environment("3.7.1", "2.13.0", "13.0", "580.1", "3.11.7", "0123456789abcdef")
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
CUBLAS = Config.of("cublas")


def tiled(block_m: int, **axes: int) -> Config:
    more = {"block_n": 128, "block_k": 64, "group_m": 8, "num_warps": 4, "num_stages": 3, **axes}
    return Config.of("tiled", block_m=block_m, **more)


def measured(
    config: Config, *times_us: float, minute: float = 0, reference_us: tuple[float, ...] = (), **more: Any
) -> Trial:
    """A trial that was measured so many minutes after noon."""
    read = Measurement(times_us or (100.0, 101.0, 102.0), more.pop("protocol", "graph"), reference_us)
    parts: dict[str, Any] = {"problem": PROBLEM, "device": DEVICE, "environment": ENVIRONMENT, **more}
    started_at = NOON + timedelta(minutes=minute)
    return Trial(config=config, outcome=Outcome.MEASURED, started_at=started_at, measurement=read, **parts)


def failed(config: Config, outcome: Outcome = Outcome.WRONG, minute: float = 0, **more: Any) -> Trial:
    parts: dict[str, Any] = {"problem": PROBLEM, "device": DEVICE, "environment": ENVIRONMENT, **more}
    return Trial(config=config, outcome=outcome, started_at=NOON + timedelta(minutes=minute), **parts)


def race(times_us: dict[Config, tuple[float, ...]], minute: float = 0, **more: Any) -> Race:
    """A race of these configs against cuBLAS."""
    parts: dict[str, Any] = {"problem": PROBLEM, "device": DEVICE, "protocol": "race", **more}
    environment, rested = parts.pop("environment", ENVIRONMENT), parts.pop("rested_us", {})
    lanes = tuple(Lane(config, environment, times, rested.get(config, ())) for config, times in times_us.items())
    return Race(reference=CUBLAS, lanes=lanes, started_at=NOON + timedelta(minutes=minute), **parts)


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
times = st.lists(st.floats(1e3, 1e9), min_size=1, max_size=8).map(tuple)
instants = st.datetimes(datetime(2001, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC))
small = st.integers(0, 2**31 - 1)
problems = st.builds(
    Problem,
    *[st.integers(0, 4096)] * 3,
    dtype=st.sampled_from(list(DTYPES)),
    layout=st.sampled_from(LAYOUTS),
    out_dtype=st.sampled_from(OUT_DTYPES),
    epilogue=st.sampled_from(("", "relu", "bias+gelu", "scale+bias+silu+residual")),
)
devices = st.one_of(
    st.sampled_from(list(ARCHES.values())),
    st.builds(
        Device,
        names,
        st.sampled_from(["sm90", "sm120", "cpu", "replay"]),
        small,
        *[st.integers(0, 2**53)] * 3,
        *[small] * 3,
    ),
)
environments = st.builds(Environment, *[names] * 7)
kernels = st.builds(
    Config.of,
    st.sampled_from([family.name for family in FAMILIES.values() if not family.is_library]),
    st.dictionaries(names, st.one_of(st.integers(-(2**31) + 1, 2**31 - 1), names), min_size=1, max_size=4),
)
configs = st.one_of(st.sampled_from([Config.of(one.name) for one in FAMILIES.values() if one.is_library]), kernels)
checks = st.builds(
    Check,
    error=st.floats(allow_nan=True),
    bound=st.floats(0, 10),
    row=small,
    column=small,
    value=st.floats(allow_nan=True),
    expected=st.floats(-1e30, 1e30),
    problem=names,
)
measurements = st.builds(
    Measurement,
    times,
    names.filter(bool),
    st.one_of(st.just(()), times),
    sm_clock_mhz=st.none() | small,
    temperature_c=st.none() | st.integers(-40, 120),
    power_w=st.none() | st.floats(0, 2000),
    memory_clock_mhz=st.none() | small,
    throttle=st.lists(names, max_size=2).map(tuple),
    warnings=st.lists(names, max_size=2).map(tuple),
)
rates = st.floats(1e-3, 1e6)
ceilings = st.builds(Ceilings, devices, instants, rates, *[st.none() | rates] * 8)
resources = st.builds(Resources, small, small, small, st.floats(0, 1e5))


@st.composite
def trials(draw: st.DrawFn) -> Trial:
    """Any trial that a tuner could come to."""
    outcome = draw(st.sampled_from(Outcome))
    return Trial(
        problem=draw(problems),
        device=draw(devices),
        config=draw(configs),
        environment=draw(environments),
        outcome=outcome,
        started_at=draw(instants),
        reason=draw(names),
        checks=tuple(draw(st.lists(checks, max_size=2))),
        measurement=draw(measurements) if outcome is Outcome.MEASURED else None,
        resources=draw(st.none() | resources),
    )


@st.composite
def races(draw: st.DrawFn) -> Race:
    lane = st.builds(Lane, configs, environments, times, st.one_of(st.just(()), times))
    lanes = draw(st.lists(lane, min_size=1, max_size=3, unique_by=_config))
    return Race(
        problem=draw(problems),
        device=draw(devices),
        protocol=draw(names),
        reference=draw(configs),
        lanes=tuple(lanes),
        started_at=draw(instants),
        confidence=draw(st.sampled_from([0.5, 0.95, 0.99])),
        notes=tuple(draw(st.lists(names, max_size=2))),
    )


def _config(lane: Lane) -> Config:
    return lane.config
