"""Finds the table of a device: one that is named, the user's, the one that is shipped; and says why one is not used."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..device import Device
from ..document import DocumentError
from ..problem import Problem
from ..stale import staleness
from .table import Standing, Table, read_table
from .toolchain import Toolchain

VARIABLE: Final = "TILEWRIGHT_TABLE"
SHIPPED: Final = Path(__file__).parents[2] / "results"


@dataclass(frozen=True, slots=True)
class Found:
    """The table that serves a device, or why none does.

    Attributes:
        source: the file, or "given" for a table that was handed over.
        refused: what was looked at and not used, a sentence each.
    """

    table: Table | None
    source: str
    refused: tuple[str, ...] = ()


def user_table(device: Device) -> Path:
    """Where the user's own table of a device is looked for, and written by `tilewright export --format table`."""
    import platformdirs

    return platformdirs.user_data_path("tilewright", appauthor=False) / "tables" / f"{device.slug}.json"


def find(device: Device, named: Path | Table | None, now: Toolchain | None) -> Found:
    """The first usable table of `device`. A table that was asked for and cannot be used is warned of, once.

    Args:
        device: what it must be of.
        named: a file or a table to use in place of all others.
        now: today's toolchain, against which results are stale; None trusts a table whatever it was measured with.
    """
    refused: list[str] = []
    for source, table in _candidates(device, named, refused):
        if reason := _unfit(table, device):
            refused.append(f"{source} {reason}")
            continue
        fresh, stale = _fresh(table, now)
        if stale:
            refused.append(f"{source}: {stale}")
        if fresh.winners:
            return _warned(Found(fresh, source, tuple(refused)))
    return _warned(Found(None, "", tuple(refused)))


def _candidates(device: Device, named: Path | Table | None, refused: list[str]) -> Iterator[tuple[str, Table]]:
    if isinstance(named, Table):
        yield "the given table", named
        return
    variable = os.environ.get(VARIABLE, "")
    asked = named or (Path(variable) if variable else None)
    for path in [asked] if asked else [user_table(device), SHIPPED / device.slug / "table.json"]:
        if not asked and not path.exists():
            continue
        try:
            yield str(path), read_table(path.read_bytes(), str(path))
        except OSError as error:
            refused.append(f"{path} cannot be read: {error.strerror}")
        except DocumentError as error:
            refused.append(str(error))


def _unfit(table: Table, device: Device) -> str:
    """Why a table is not for this device; a card sold under one name with more or fewer multiprocessors is another."""
    of = table.device
    if (of.name, of.arch, of.sm_count) == (device.name, device.arch, device.sm_count):
        return ""
    return f"is of {of.name} ({of.arch}, {of.sm_count} SMs), and this is {device.name} ({device.sm_count} SMs)"


def _fresh(table: Table, now: Toolchain | None) -> tuple[Table, str]:
    """What of a table today's toolchain confirms, and what it does not."""
    if now is None:
        return table, ""
    stale: dict[str, int] = {}
    winners: dict[Problem, tuple[Standing, ...]] = {}
    for problem, row in table.winners.items():
        kept = []
        for one in row:
            differences = staleness(one.environment, one.config.family, now.of(one.config.family))
            if differences:
                stale[", ".join(differences)] = stale.get(", ".join(differences), 0) + 1
            else:
                kept.append(one)
        if kept:
            winners[problem] = tuple(kept)
    told = "; ".join(f"{count} results are stale ({why})" for why, count in stale.items())
    return Table(table.device, winners), f"{told}; tune again and export" if told else ""


def _warned(found: Found) -> Found:
    if found.refused:
        served = f"{found.source} serves the rest" if found.table else "torch serves every call"
        warnings.warn(f"tilewright: {'; '.join(found.refused)}; {served}", UserWarning, stacklevel=2)
    return found
