"""A store in a file: what is refused and left as it was, what a reader does, what is on the disk."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tilewright.tuner.store import StoreError, open_store
from tilewright.tuner.store.migrate import VERSION_TABLE
from tilewright.tuner.store.models import SCHEMA

from .processes import Worker
from .samples import measured, tiled
from .test_many_writers import integrity
from .worker import numbered, numbers


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A file with three trials."""
    path = tmp_path / "store.db"
    with open_store(path) as store:
        store.add_all(numbered(index) for index in range(3))
    return path


@pytest.fixture
def anybody() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="tilewright-anybody-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def alter(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def test_a_file_is_in_wal_mode_and_syncs_each_commit(stored: Path) -> None:
    with closing(sqlite3.connect(stored)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_people_can_ask_with_a_database_shell(stored: Path) -> None:
    with closing(sqlite3.connect(stored)) as connection:
        row = connection.execute("SELECT m, n, k, device, family, axes, median_us FROM results LIMIT 1").fetchone()
    assert row == (512, 4096, 4096, "NVIDIA H100 (nominal)", "tiled", '{"block_m":0,"num_warps":4}', 109.5)


def test_missing_folders_are_made(tmp_path: Path) -> None:
    with open_store(tmp_path / "new" / "folder" / "store.db") as store:
        store.add(measured(tiled(1)))


@pytest.mark.parametrize("name", ["100% of it?.db", "söme#thing.db", "with space.db"])
def test_any_name_will_do(tmp_path: Path, name: str) -> None:
    with open_store(tmp_path / name) as store:
        store.add(measured(tiled(1)))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with open_store(f"sqlite:///{tmp_path / name}", readonly=True) as store:
        assert len(store.trials()) == 1


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    with pytest.raises(StoreError, match="holds no store yet"):
        open_store(path, readonly=True)
    with open_store(path) as store:
        store.add(measured(tiled(1)))


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    link, path = tmp_path / "link.db", tmp_path / "store.db"
    link.symlink_to(path)
    with open_store(link) as store:
        store.add(measured(tiled(1)))
    assert link.is_symlink()
    assert path.exists()


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"this is no database, and longer than a header of SQLite " * 20, "is not a SQLite database: give the path"),
        (b"m,n,k\n1,2,3\n", "is not a SQLite database"),
        (b"SQLite format 3\0" + bytes(4000), "is not a SQLite database|is damaged"),
    ],
)
def test_another_kind_of_file_is_refused(tmp_path: Path, readonly: bool, content: bytes, message: str) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    refused(path, message, readonly)


@pytest.mark.parametrize("readonly", [False, True])
def test_another_programs_database_is_refused(tmp_path: Path, readonly: bool) -> None:
    path = tmp_path / "other.db"
    alter(path, "CREATE TABLE recipes (id INTEGER)")
    refused(path, r"holds another program's tables \(recipes\): give the path of a store", readonly)


@pytest.mark.parametrize("readonly", [False, True])
def test_a_newer_schema_is_refused(stored: Path, readonly: bool) -> None:
    alter(stored, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    refused(stored, f"has schema 9999 and this version knows up to {SCHEMA}: upgrade tilewright", readonly)


def test_a_schema_of_nobody_is_refused(stored: Path) -> None:
    for number in ("0000x", "-1"):
        alter(stored, f"UPDATE {VERSION_TABLE} SET version_num = '{number}'")
        for readonly in (False, True):
            refused(stored, f"has schema {number}, which is none", readonly=readonly)


@pytest.mark.parametrize("where", ["", ":memory:", "sqlite://", "sqlite:///"])
def test_what_names_no_file_is_refused(where: str) -> None:
    with pytest.raises(StoreError, match="names no file: give a path, or memory://"):
        open_store(where)


@pytest.mark.parametrize("readonly", [False, True])
def test_a_folder_is_refused(tmp_path: Path, readonly: bool) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(tmp_path, readonly=readonly)


def test_a_folder_that_is_a_file_is_refused(stored: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(stored / "store.db")


def refused(path: Path, message: str, readonly: bool) -> None:
    """Holds that a file is refused in one line with its name, and that nothing in its folder is changed."""
    before = {one.name: one.read_bytes() for one in path.parent.iterdir()}
    with pytest.raises(StoreError, match=message) as caught:
        open_store(path, readonly=readonly)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert {one.name: one.read_bytes() for one in path.parent.iterdir()} == before


def test_a_reader_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not there: tune into it first"):
        open_store(tmp_path / "store.db", readonly=True)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_named(stored: Path) -> None:
    content = bytearray(stored.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    stored.write_bytes(content)
    with pytest.raises(StoreError, match=r"store\.db is damaged: move it away"), open_store(stored) as store:
        store.add(numbered(9))


def test_a_file_that_may_not_be_written(anybody: Path) -> None:
    path = anybody / "store.db"
    with open_store(path) as store:
        store.add(numbered(0))
    path.chmod(0o444)
    anybody.chmod(0o555)
    with Worker() as worker:
        worker.ready()
        worker.tell("become_nobody")
        assert worker.lines() == []
        worker.tell("write", path, 1, 1)
        (line,) = worker.lines()
        assert line.startswith(f"StoreError: {path} cannot be written: make the file and its folder writable")
        worker.tell("write", anybody / "new.db", 1, 1)
        (line,) = worker.lines()
        assert line.startswith(f"StoreError: {anybody / 'new.db'} cannot be opened: Permission denied; check the path")
        worker.tell("read", path, 0.01)
        assert worker.lines() == ["1"]
    anybody.chmod(0o755)
    assert [one.name for one in anybody.iterdir()] == ["store.db"]
    with open_store(path, readonly=True) as store:
        assert numbers(store) == [0]


def test_a_file_that_may_not_be_read(anybody: Path) -> None:
    path = anybody / "store.db"
    with open_store(path) as store:
        store.add(numbered(0))
    path.chmod(0)
    with Worker() as worker:
        worker.ready()
        worker.tell("become_nobody")
        assert worker.lines() == []
        worker.tell("read", path, 0.01)
        (line,) = worker.lines()
        assert line.startswith(f"StoreError: {path} cannot be opened: it must be a file that you may read")


def test_a_full_disk_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with Worker() as worker:
        worker.ready()
        worker.tell("limit_file_size", 400_000)
        assert worker.lines() == []
        worker.tell("write", path, 0, 100_000)
        *said, error = worker.lines()
    assert "what was kept before is safe" in error
    assert error.endswith(f"; {len(said)} trials of this run are kept")
    assert len(said) > 10
    assert integrity(path) == "ok"
    with open_store(path) as store:
        assert numbers(store) == sorted(map(int, said))
        store.add(numbered(999_999))


def test_a_disk_that_is_full_from_the_start_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with Worker() as worker:
        worker.ready()
        worker.tell("limit_file_size", 10_000)
        assert worker.lines() == []
        worker.tell("write", path, 0, 1)
        (error,) = worker.lines()
    assert error.startswith(f"StoreError: {path} cannot")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_full_file_system(tmp_path: Path) -> None:
    """The real thing, where one may mount it."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path], check=False).returncode:
        pytest.skip("only root may mount a file system")
    try:
        path = tmp_path / "store.db"
        with Worker() as worker:
            worker.ready()
            worker.tell("write", path, 0, 100_000)
            *said, error = worker.lines()
        assert "cannot grow, the disk is full: free space and start again" in error
        assert error.endswith(f"; {len(said)} trials of this run are kept")
        with open_store(path, readonly=True) as store:
            assert numbers(store) == sorted(map(int, said))
        assert len(said) > 100
        assert integrity(path) == "ok"
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_the_log_of_a_store_that_was_removed_is_none_of_the_next_one(tmp_path: Path) -> None:
    """As a writer leaves it that is killed: what was deleted came back, or the new file was damaged."""
    path = tmp_path / "store.db"
    with open_store(path) as store:
        store.add(numbered(1))
        left = {end: path.with_name(f"{path.name}{end}").read_bytes() for end in ("-wal", "-shm")}
    assert left["-wal"]
    path.unlink()
    for end, data in left.items():
        path.with_name(f"{path.name}{end}").write_bytes(data)
    with open_store(path) as store:
        assert numbers(store) == []
        store.add(numbered(2))
    assert integrity(path) == "ok"
    with open_store(path, readonly=True) as store:
        assert numbers(store) == [2]


def test_another_users_lock_is_waited_for_and_then_named(
    stored: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, seconds in (("sqlite.BUSY_SECONDS", 0.1), ("sqlite.QUIET_SECONDS", 0.02), ("sql.PATIENCE_SECONDS", 0.15)):
        monkeypatch.setattr(f"tilewright.tuner.store.{name}", seconds)
    with closing(sqlite3.connect(stored, isolation_level=None)) as other, open_store(stored) as store:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="is locked by another process"):
            store.add(numbered(3))
        assert [record.message for record in caplog.records] == [
            "another process has locked the store: waiting for it"
        ] * 2
        assert numbers(store) == [0, 1, 2]
        other.execute("COMMIT")
        store.add(numbered(3))
        assert numbers(store) == [0, 1, 2, 3]


def test_a_file_has_the_mode_that_the_user_asks_for(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        open_store(tmp_path / "store.db").close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "store.db").stat().st_mode) == 0o640
