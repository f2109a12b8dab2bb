"""What the documents show is what there is."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from tilewright.kernels.dispatch.table import read_table
from tilewright.tuner.export import write_table
from tilewright.tuner.store import open_store
from tilewright.tuner.store.pack import write_pack
from tilewright.tuner.store.unpack import read_pack

from .samples import failed, measured, tiled

DOCS: Final = Path(__file__).parents[2] / "docs"


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / document).read_text(), re.DOTALL)


def test_the_pack_and_the_table_that_are_shown_are_what_is_written() -> None:
    pack, table = blocks("pack.md", "json")
    assert write_pack(read_pack(pack.encode(), "pack.md")) == pack
    assert write_table(read_table(table.encode(), "pack.md")) == table


def test_the_queries_that_are_shown_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store("results/tilewright.db") as store:
        store.add_all([measured(tiled(128)), failed(tiled(64))])
    (program,) = blocks("store.md", "python")
    names: dict[str, object] = {}
    exec(compile(program, "store.md", "exec"), names)
    assert capsys.readouterr().out.startswith("exact tiled(block_k=64, block_m=128")
    assert names["failures"] == [failed(tiled(64))]
    statement = blocks("store.md", "sh")[0].split('"')[1]
    with closing(sqlite3.connect("results/tilewright.db")) as connection:
        assert len(connection.execute(statement).fetchall()) == 1
