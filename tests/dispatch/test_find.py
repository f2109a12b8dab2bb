"""Where a table is looked for, and that one of another GPU or another toolchain is not used in silence."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tilewright.kernels.dispatch import find
from tilewright.kernels.dispatch.table import Table
from tilewright.kernels.dispatch.toolchain import Toolchain
from tilewright.tuner.export import write_table

from .tables import CUBLAS, DEVICE, ENVIRONMENT, kernel, problem, standing, table

NOW = Toolchain("3.6.0", "2.11.0", "13.0", "580.1", lambda family: "abc")
TUNED = table({16: [(kernel(), 1.2), (CUBLAS, 1.0)]})


@pytest.fixture(autouse=True)
def _nothing_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv(find.VARIABLE, raising=False)
    monkeypatch.setattr(find, "SHIPPED", tmp_path / "shipped")


def written(path: Path, of: Table = TUNED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(write_table(of))
    return path


def test_the_first_there_is_serves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert find.find(DEVICE, None, NOW) == find.Found(None, "")
    places = [find.SHIPPED / DEVICE.slug / "table.json", find.user_table(DEVICE), tmp_path / "variable.json"]
    for place in places:
        written(place)
        if place.name == "variable.json":
            monkeypatch.setenv(find.VARIABLE, str(place))
        assert find.find(DEVICE, None, NOW) == find.Found(TUNED, str(place))
    assert find.find(DEVICE, written(tmp_path / "named.json"), NOW).source == str(tmp_path / "named.json")
    assert find.find(DEVICE, TUNED, NOW) == find.Found(TUNED, "the given table")


def test_what_is_stale_is_told_and_left_out() -> None:
    older = standing(kernel(32), 1.3, environment=dataclasses.replace(ENVIRONMENT, triton="3.5.0"))
    mixed = Table(DEVICE, {problem(16): (older, standing(kernel(), 1.2)), problem(32): (older,)})
    with pytest.warns(UserWarning, match=r"2 results are stale \(triton 3.5.0, now 3.6.0\); tune again"):
        found = find.find(DEVICE, mixed, NOW)
    assert found.table == Table(DEVICE, {problem(16): (standing(kernel(), 1.2),)})
    with pytest.warns(UserWarning, match="torch serves every call"):
        assert find.find(DEVICE, TUNED, dataclasses.replace(NOW, kernel_hash=lambda family: "new")).table is None
    assert find.find(DEVICE, mixed, None).table == mixed


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (write_table(table({16: [(kernel(), 1.2)]}, dataclasses.replace(DEVICE, name="Another"))), "is of Another"),
        (write_table(table({16: [(kernel(), 1.2)]}, dataclasses.replace(DEVICE, sm_count=114))), "114 SMs"),
        ("{}", 'its "format" must be "tilewright-table"'),
        (None, "cannot be read: No such file"),
    ],
)
def test_what_cannot_serve_is_named(tmp_path: Path, text: str | None, why: str) -> None:
    path = tmp_path / "other.json"
    if text is not None:
        path.write_text(text)
    with pytest.warns(UserWarning, match=why):
        assert find.find(DEVICE, path, NOW).table is None
