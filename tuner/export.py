"""The table that dispatch loads: the ranked configs of each problem on one device, exported from the store."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..kernels.device import REPLAYED
from ..kernels.dispatch.table import FORMAT, VERSION, Standing, Table
from ..kernels.families import FAMILIES, is_deterministic
from ..kernels.family import Family
from ..kernels.problem import Problem
from ..kernels.stale import Today
from .store import Store, StoreError
from .store.codec import dumps
from .store.pack import block, config_fields, environment_name, instant_text, value_fields
from .store.query import only_device
from .store.ranking import Origin, Ranked, ranking

_SEEN: Final = 32  # ranked configs among which a library is looked for


def table_of(
    store: Store,
    device: str | None = None,
    problems: Sequence[Problem] = (),
    *,
    top: int = 3,
    today: Today = None,
    families: Mapping[str, Family] = FAMILIES,
    deterministic: bool = False,
) -> Table:
    """The table of what a store holds of a device.

    Args:
        store: where the results are.
        device: by name; None means the only one there is.
        problems: that are in it; empty means all that are stored.
        top: ranked configs a problem, at most; the best library is in it whatever its rank.
        today: today's environment; stale results are left out. Without it none is known to be stale.
        families: that are known by their names; results of others are left out.
        deterministic: whether only configs are in it that compute the same bits in every run; the libraries may not.

    Raises:
        StoreError: nothing is stored of that device, or of several and none is named.
    """
    name = device or only_device(store)
    only = is_deterministic if deterministic else None
    winners: dict[Problem, tuple[Ranked, ...]] = {}
    for problem in sorted(problems or store.problems()):
        ranked = ranking(store, problem, name, count=max(_SEEN, top), today=today, only=only)
        if row := _row([one for one in ranked if not one.stale and _is_valid(one, families)], top):
            winners[problem] = row
    if not winners:
        replayed = any(one.name == name and one.arch == REPLAYED for one in store.devices())
        why = "nothing was measured in a replay" if replayed else "tune first, or name another device"
        raise StoreError(f"{store.name} has no result of {name} for a table: {why}")
    latest = max((one for row in winners.values() for one in row), key=lambda one: one.measured_at)
    return Table(latest.device, {problem: tuple(map(_standing, row)) for problem, row in winners.items()})


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


def _row(ranked: Sequence[Ranked], top: int) -> tuple[Ranked, ...]:
    """The first `top` configs, and the best library if it comes later."""
    first, later = ranked[:top], ranked[top:]
    has_library = any(one.origin is Origin.LIBRARY for one in first)
    return (*first, *([] if has_library else [one for one in later if one.origin is Origin.LIBRARY][:1]))


def _is_valid(one: Ranked, families: Mapping[str, Family]) -> bool:
    """Whether a config is still a point of its family's space."""
    family = families.get(one.config.family)
    return family is not None and one.config in family.space(one.problem, one.device)


def _standing(one: Ranked) -> Standing:
    return Standing(
        config=one.config,
        median_us=one.median_us,
        ratio=one.ratio,
        reference=one.reference,
        raced=one.raced,
        environment=one.environment,
        protocol=one.protocol,
        measured_at=one.measured_at,
    )


def _fields(one: Standing) -> dict[str, Any]:
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
