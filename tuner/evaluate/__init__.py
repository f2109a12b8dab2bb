"""How a config is evaluated: compiled, checked, measured, raced; by a meter out of `METERS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from .health import gpu_count
from .meter import Meter, MeterError, MeterOptions, RaceLimit
from .regime import DEFAULT as DEFAULT_REGIME
from .regime import REGIMES

__all__ = [
    "DEFAULT_REGIME",
    "METERS",
    "REGIMES",
    "Meter",
    "MeterError",
    "MeterOptions",
    "RaceLimit",
    "open_meter",
]


def _gpu(index: str, options: MeterOptions) -> Meter:
    from .live import LiveMeter  # here and below: a replay needs no kernel, and a listing neither

    if index and not index.isdecimal():
        raise MeterError(f"device 'gpu:{index}' names no GPU: write gpu, or gpu:1 for the second one")
    count = gpu_count()
    if int(index or 0) >= count:
        here = f"this machine has {count}" if count else "there is no NVIDIA GPU here"
        raise MeterError(f"GPU {index or 0} cannot be used: {here}; use --device cpu, or --device replay:FILE")
    _check_families(options.families, "gpu")
    return LiveMeter(index or "0", options)


def _cpu(rest: str, options: MeterOptions) -> Meter:
    from .live import LiveMeter

    if rest:
        raise MeterError(f"device 'cpu:{rest}' is none: the host is cpu")
    _check_families(options.families, "cpu")
    return LiveMeter("cpu", options)


def _check_families(names: Sequence[str], kind: str) -> None:
    """
    Raises:
        MeterError: a family of ours is named that runs on the other kind of device.
    """
    from ...kernels.families import FAMILIES

    elsewhere = [name for name in names if name in FAMILIES and FAMILIES[name].runs_on != kind]
    if elsewhere:
        here = ", ".join(name for name, one in FAMILIES.items() if one.runs_on == kind)
        raise MeterError(f"family {elsewhere[0]} does not run on a {kind}: name one of {here}, or another --device")


def _replay(files: str, options: MeterOptions) -> Meter:
    from .replay import open_replay

    if not files:
        raise MeterError(
            "device 'replay:' names no file: write replay:FILE with a recorded landscape (CSV, gzip or not)"
        )
    return open_replay([Path(name) for name in files.split(",")])


# The word before the colon in `gpu`, `gpu:1`, `cpu`, `replay:FILE`, and what opens it.
METERS: Final[MappingProxyType[str, Callable[[str, MeterOptions], Meter]]] = MappingProxyType(
    {"gpu": _gpu, "cpu": _cpu, "replay": _replay}
)


def open_meter(where: str, options: MeterOptions | None = None) -> Meter:
    """The meter at `where`: `gpu`, `gpu:1`, `cpu`, or `replay:FILE[,FILE...]`.

    Raises:
        MeterError: there is no such device, or it does not answer.
        ValueError: a replay's file is no landscape.
    """
    kind, _, rest = where.partition(":")
    if kind not in METERS:
        raise MeterError(f"device {where!r} is none: use gpu, gpu:1, cpu or replay:FILE")
    return METERS[kind](rest, options or MeterOptions())
