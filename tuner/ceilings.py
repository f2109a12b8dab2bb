"""What a device can do at best: measured once, and then remembered with it."""

from __future__ import annotations

from .evaluate import Meter
from .roofline import Ceilings
from .store import Store


def known_ceilings(meter: Meter, store: Store) -> Ceilings | None:
    """The stored ceilings of the meter's device; measured and kept if there are none. None if they cannot be."""
    for ceilings in store.ceilings(meter.device.name):
        if ceilings.device == meter.device:
            return ceilings
    found = meter.ceilings()
    if found is not None:
        store.add_ceilings(found)
    return found
