"""Ceilings in a database and in a pack: one row a device, the newest measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Row, Select, Table, select

from ...kernels.device import Device
from ...kernels.document import Node
from ..roofline import Ceilings
from .models import CeilingsRow, DeviceRow, table

RATES: Final = tuple(
    field.name for field in dataclasses.fields(Ceilings) if field.name not in ("device", "measured_at")
)
MAX_RATE: Final = 1e7  # GB/s or TFLOP/s; a thousand times what any device reaches


def require_storable(ceilings: Ceilings) -> None:
    """Raises ValueError when a rate is none, or the instant has no time zone."""
    rates = {name: getattr(ceilings, name) for name in RATES}
    for name, rate in rates.items():
        if rate is not None and not 0 < rate < MAX_RATE:
            raise ValueError(f"{name} of {ceilings.device.name} is {rate!r}: a rate is above 0 and below {MAX_RATE:g}")
    if ceilings.measured_at.tzinfo is None:
        raise ValueError(f"{ceilings.measured_at} has no time zone: give an instant, as datetime.now(UTC)")


def columns(ceilings: Ceilings, device_id: int) -> dict[str, Any]:
    rates = {name: getattr(ceilings, name) for name in RATES}
    return {"device_id": device_id, "measured_at": ceilings.measured_at, **rates}


def upsert(insert: Callable[[Table], Any]) -> Any:
    """The statement that inserts a device's ceilings or replaces older ones."""
    statement = insert(table(CeilingsRow))
    names = ("measured_at", *RATES)
    return statement.on_conflict_do_update(
        index_elements=["device_id"],
        set_={name: statement.excluded[name] for name in names},
        where=statement.excluded.measured_at > CeilingsRow.measured_at,
    )


def newest(device: str | None) -> Select[Any]:
    """The rows of the devices of that name, or of all, the newest first."""
    statement = select(table(CeilingsRow)).order_by(CeilingsRow.measured_at.desc(), CeilingsRow.device_id)
    if device is None:
        return statement
    return statement.where(CeilingsRow.device_id.in_(select(DeviceRow.id).where(DeviceRow.name == device)))


def of_row(row: Row[Any], device: Device) -> Ceilings:
    return Ceilings(device, row.measured_at, **{name: getattr(row, name) for name in RATES})


def fields(ceilings: Ceilings) -> dict[str, float | None]:
    """The rates, as a pack has them."""
    rates = {name: getattr(ceilings, name) for name in RATES}
    return {name: None if rate is None else float(rate) for name, rate in rates.items()}


def read_rates(nodes: dict[str, Node]) -> dict[str, float | None]:
    """The rates of an object in a pack. Raises DocumentError when one of them is none."""
    return {name: nodes[name].optional(_rate) for name in RATES}


def _rate(node: Node) -> float:
    rate = node.number(0, MAX_RATE)
    if rate == 0:
        node.fail("a rate is above 0")
    return rate
