"""Writes `schemas/<schema>.sql`: a store as this version writes it, for every later version to migrate.

    python -P -m tilewright.tests.store.schema_file

One file a schema, made by the version that has it: once there is a next schema, nobody can make it any more.
"""

from __future__ import annotations

import dataclasses
import sqlite3
import tempfile
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Final

from tilewright.tuner.roofline import Ceilings
from tilewright.tuner.store import open_store
from tilewright.tuner.store.models import SCHEMA
from tilewright.tuner.store.pack import Pack
from tilewright.tuner.trial import Check, Outcome, Resources

from .samples import CUBLAS, DEVICE, NOON, PROBLEM, failed, measured, race, tiled

SCHEMAS: Final = Path(__file__).with_name("schemas")


def sample() -> Pack:
    """Something in every table and column. What a later version adds goes in here; what is here stays."""
    good = measured(tiled(128), 100.1, 99.3, reference_us=(101.0, 102.0), resources=Resources(168, 4, 98304, 0.31))
    assert good.measurement is not None
    read = dataclasses.replace(
        good.measurement,
        sm_clock_mhz=1980,
        temperature_c=51,
        power_w=402.5,
        memory_clock_mhz=2619,
        throttle=("power cap",),
        warnings=("the last reading is an outlier",),
    )
    good = dataclasses.replace(good, measurement=read, checks=(Check(0.4, 1.0, 3, 5, 1.25, 1.5, PROBLEM.key),))
    bad = failed(tiled(64), Outcome.WRONG, minute=1, reason="error 3")
    rested = {CUBLAS: (90.0, 90.5), tiled(128): (89.0, 89.5)}
    raced = race({CUBLAS: (100.0, 101.0), tiled(128): (98.0, 99.0)}, minute=2, notes=("a note",), rested_us=rested)
    reached = Ceilings(DEVICE, NOON + timedelta(minutes=3), 3300.0, 650.0, pinned_up_gbs=55.0)
    return Pack((good, bad), (raced,), (reached,))


def script(path: Path) -> str:
    """A store with the sample in it, as SQL."""
    pack = sample()
    with open_store(path) as store:
        store.add_all(pack.trials, pack.races, pack.ceilings)
    with closing(sqlite3.connect(path)) as connection:
        return "\n".join(connection.iterdump()) + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        text = script(Path(folder) / "store.db")
    path = SCHEMAS / f"{SCHEMA}.sql"
    path.write_text(text)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
