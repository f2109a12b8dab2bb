"""The flat table holds a line a trial that data frames can read."""

from __future__ import annotations

import csv
import io

from tilewright.tuner.store.flat import COLUMNS, csv_text
from tilewright.tuner.trial import Resources

from .samples import failed, measured, tiled


def test_a_line_a_trial() -> None:
    good = measured(tiled(128), 100.0, reference_us=(110.0,), resources=Resources(168, 4, 98304, 0.25))
    bad = failed(tiled(64), reason='a "reason", of\ntwo lines')
    rows = list(csv.DictReader(io.StringIO(csv_text([good, bad]))))
    assert [tuple(row) for row in rows] == [COLUMNS, COLUMNS]
    assert rows[0]["median_us"] == "100.0"
    assert float(rows[0]["tflops"]) == good.problem.flops / 100e-6 / 1e12
    assert rows[0]["speed"] == "1.1"
    assert rows[0]["axes"].startswith('{"block_k":64,"block_m":128,')
    assert rows[0]["deterministic"] == "1"
    assert rows[0]["started_at"] == "2026-01-31T12:00:00.000000Z"
    assert (rows[0]["registers"], rows[0]["compile_seconds"]) == ("168", "0.25")
    assert (rows[1]["median_us"], rows[1]["tflops"], rows[1]["registers"], rows[1]["protocol"]) == ("", "", "", "")
    assert rows[1]["reason"] == bad.reason
