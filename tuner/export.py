"""The table that dispatch loads: the ranked configs of each problem on one device, exported from the store."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..kernels.device import Device
from ..kernels.families import FAMILIES
from ..kernels.family import Family
from ..kernels.problem import Problem
from .store import Store, StoreError
from .store.codec import dumps
from .store.document import DocumentError, Node, parse, require_format
from .store.pack import block, config_fields, environment_name, instant_text, value_fields
from .store.query import only_device
from .store.ranking import Origin, Ranked, ranking
from .store.stale import Today
from .store.unpack import (
    Names,
    read_device,
    read_environment,
    read_instant,
    read_problem,
    read_time,
)
from .trial import Ratio

FORMAT: Final = "tilewright-table"
VERSION: Final = 1
_SEEN: Final = 32  # ranked configs among which a library is looked for


@dataclass(frozen=True, slots=True)
class Table:
    """What dispatch knows of one device.

    Attributes:
        winners: problem -> its ranked configs, the best first, a library among them where one was measured.
    """

    device: Device
    winners: dict[Problem, tuple[Ranked, ...]]


def table_of(
    store: Store,
    device: str | None = None,
    problems: Sequence[Problem] = (),
    *,
    top: int = 3,
    today: Today = None,
    families: Mapping[str, Family] = FAMILIES,
) -> Table:
    """The table of what a store holds of a device.

    Args:
        store: where the results are.
        device: by name; None means the only one there is.
        problems: that are in it; empty means all that are stored.
        top: ranked configs a problem, at most; the best library is in it whatever its rank.
        today: today's environment; stale results are left out. Without it none is known to be stale.
        families: that are known by their names; results of others are left out.

    Raises:
        StoreError: nothing is stored of that device, or of several and none is named.
    """
    name = device or only_device(store)
    winners = {}
    for problem in sorted(problems or store.problems()):
        ranked = ranking(store, problem, name, count=max(_SEEN, top), today=today)
        if row := _row([one for one in ranked if not one.stale and _is_valid(one, families)], top):
            winners[problem] = row
    if not winners:
        raise StoreError(f"{store.name} has no result of {name} for a table: tune first, or name another device")
    latest = max((one for row in winners.values() for one in row), key=lambda one: one.measured_at)
    return Table(latest.device, winners)


def write_table(table: Table) -> str:
    """The one text of a table: sorted, a line a problem."""
    used = {one.environment for row in table.winners.values() for one in row}
    environments = sorted((environment_name(one), dumps(value_fields(one))) for one in used)
    rows = (
        dumps({"problem": value_fields(problem), "ranked": [_fields(one) for one in row]})
        for problem, row in sorted(table.winners.items())
    )
    parts = [
        f'"format":{dumps(FORMAT)}',
        f'"version":{VERSION}',
        f'"device":{dumps(value_fields(table.device))}',
        f'"environments":{block("{}", (f"{dumps(name)}:{fields}" for name, fields in environments))}',
        f'"winners":{block("[]", rows)}',
    ]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def read_table(data: bytes, name: str, families: Mapping[str, Family] = FAMILIES) -> Table:
    """The table that `data` holds, with results of these families; `name` is for messages.

    Raises:
        DocumentError: it is no table, its version is newer, or any value in it has the wrong type or is impossible.
    """
    root = parse(data, name)
    require_format(root, FORMAT, VERSION)
    fields = root.fields("format", "version", "device", "environments", "winners")
    device = read_device(fields["device"])
    environments = {key: read_environment(node) for key, node in fields["environments"].mapping().items()}
    known = Names({}, environments, families)
    winners: dict[Problem, tuple[Ranked, ...]] = {}
    for node in fields["winners"].items():
        row = node.fields("problem", "ranked")
        problem = read_problem(row["problem"])
        if problem in winners:
            raise DocumentError(f"{node.where} has {problem} once more: a table has each problem once")
        winners[problem] = tuple(_ranked(one, problem, device, known) for one in row["ranked"].items())
        if not winners[problem]:
            raise DocumentError(f"{node.where} ranks nothing for {problem}: leave out what was not measured")
    return Table(device, winners)


def write_atomically(path: Path, text: str) -> None:
    """Replaces a file as a whole: a reader sees the old text or the new, also when the machine stops in between.

    Raises:
        OSError: it cannot be written; the old file, if any, is as it was.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        # What fails while it writes, as on a full disk, names no file by itself.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        draft.unlink(missing_ok=True)


def _row(ranked: Sequence[Ranked], top: int) -> tuple[Ranked, ...]:
    """The first `top` configs, and the best library if it comes later."""
    first, later = ranked[:top], ranked[top:]
    has_library = any(one.origin is Origin.LIBRARY for one in first)
    return (*first, *([] if has_library else [one for one in later if one.origin is Origin.LIBRARY][:1]))


def _is_valid(one: Ranked, families: Mapping[str, Family]) -> bool:
    """Whether a config is still a point of its family's space."""
    family = families.get(one.config.family)
    return family is not None and one.config in family.space(one.problem, one.device)


def _fields(one: Ranked) -> dict[str, Any]:
    ratio = one.ratio
    high = ratio.high if ratio and math.isfinite(ratio.high) else None
    return {
        **config_fields(one.config),
        "median_us": float(one.median_us),
        "ratio": {"median": ratio.median, "low": ratio.low, "high": high} if ratio else None,
        "reference": config_fields(one.reference) if one.reference is not None else None,
        "raced": one.raced,
        "protocol": one.protocol,
        "measured_at": instant_text(one.measured_at),
        "environment": environment_name(one.environment),
    }


def _ranked(node: Node, problem: Problem, device: Device, known: Names) -> Ranked:
    fields = node.fields(
        *("family", "axes", "median_us", "ratio", "reference", "raced", "protocol", "measured_at", "environment")
    )
    config = known.config(fields["family"], fields["axes"])
    return Ranked(
        config=config,
        problem=problem,
        origin=Origin.EXACT if config.items_by_axis else Origin.LIBRARY,
        median_us=read_time(fields["median_us"], problem),
        ratio=fields["ratio"].optional(_ratio),
        reference=fields["reference"].optional(known.reference),
        raced=fields["raced"].truth(),
        stale=(),
        environment=known.environment(fields["environment"]),
        device=device,
        protocol=fields["protocol"].text(),
        measured_at=read_instant(fields["measured_at"]),
    )


def _ratio(node: Node) -> Ratio:
    fields = node.fields("median", "low", "high")
    high = fields["high"].optional(Node.number)
    ratio = Ratio(fields["median"].number(), fields["low"].number(), math.inf if high is None else high)
    if not ratio.low <= ratio.median <= ratio.high:
        node.fail("low, median and high must be in this order")
    return ratio
