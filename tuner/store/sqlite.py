"""The store in a SQLite file: made whole or not at all, written by many, durable when a write returns."""

from __future__ import annotations

import fcntl
import logging
import os
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, cast
from urllib.parse import quote

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.exc import DBAPIError

from .migrate import migrate, schema_of
from .models import SCHEMA
from .protocol import Store, StoreError
from .sql import WRITES, SqlStore

_log: Final = logging.getLogger(__name__)
BUSY_SECONDS: Final = 20.0
LOOK_SECONDS: Final = 0.005
QUIET_SECONDS: Final = 3.0  # of waiting, before it is told
# What passes when the transaction is run again: another writer, a reader's recovery of the log, a schema just changed.
_PASSING: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_SCHEMA)
_CAUSES: Final = {
    sqlite3.SQLITE_NOTADB: "is not a SQLite database: give the path of a store, or of a file that is not there yet",
    sqlite3.SQLITE_CORRUPT: "is damaged: move it away with the -wal and -shm beside it, restore a copy or import a "
    "tuning pack",
    sqlite3.SQLITE_READONLY: "cannot be written: make the file and its folder writable, or give another path",
    sqlite3.SQLITE_PERM: "may not be opened: ask its owner for permission, or give another path",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: it must be a file that you may read, in a folder that is there, and to "
    "write both must be writable",
    sqlite3.SQLITE_FULL: "cannot grow, the disk is full: free space and start again; what was kept before is safe",
    sqlite3.SQLITE_IOERR: "cannot be read or written: check the disk and its free space; what was kept before is safe",
    sqlite3.SQLITE_BUSY: "is locked by another process: find out which one holds it, or try again",
}


def open_url(url: str, readonly: bool) -> Store:
    """The store of `sqlite:///path`; see `open_store`."""
    if not url.startswith("sqlite:///"):
        raise StoreError(f"store {url} names no file: give a path, or sqlite:///path")
    path = Path(url.removeprefix("sqlite:///")).expanduser().resolve()
    if path.exists() and not path.is_file():
        raise StoreError(f"{path} cannot be opened: it is no file; give the path of a store")
    with _explained(path):
        if readonly:
            return _open_readonly(path)
        if not _is_current(path):
            _bring_up(path)
    return _store(path, _engine(_address(path, "rw")))


def _open_readonly(path: Path) -> Store:
    if not path.exists():
        raise StoreError(f"{path} is not there: tune into it first, or give the path of a store")
    address = _readonly_address(path)
    with _used_once(address) as engine, engine.connect() as connection:
        found = schema_of(connection, str(path))
    if found is None:
        raise StoreError(f"{path} holds no store yet: tune into it first, or give the path of a store")
    return _store(path, _engine(address, readonly=True) if found == SCHEMA else _migrated_copy(path, address))


def _migrated_copy(path: Path, address: str) -> Engine:
    """A file of an earlier schema as it will be once it is migrated, in memory: a reader changes nothing."""
    memory = engine_of(
        create_engine("sqlite://", creator=lambda: _copied(address), poolclass=QueuePool, pool_size=1), migrates=True
    )
    with memory.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        migrate(connection, str(path))
    with memory.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
    return memory


def _copied(address: str) -> sqlite3.Connection:
    copy = _connect(":memory:")
    with closing(_connect(address)) as source:
        source.backup(copy)
    return copy


def _readonly_address(path: Path) -> str:
    """How to open a file for reading. A WAL file needs a log beside it, also to be read. A reader that may write takes
    it away again when it is the last; one that may not would leave it there. Where none is and none may be made, nobody
    writes, and the file may be read as one that does not change."""
    may_write = all(os.access(one, os.W_OK) for one in (path, path.parent))
    address = _address(path, "rw" if may_write else "ro")
    try:
        with closing(_connect(address)) as connection:
            connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError as error:
        without_log = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
        if _code(error) not in without_log or path.with_name(f"{path.name}-wal").exists():
            raise
        return f"{address}&immutable=1"
    return address


def _is_current(path: Path) -> bool:
    """Whether the file is there and needs no migration."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    with _used_once(_address(path, "rw")) as engine, engine.connect() as connection:
        return schema_of(connection, str(path)) == SCHEMA


def _bring_up(path: Path) -> None:
    """Creates or migrates the file, alone. A new one is made beside its place and moved there complete, so that no
    reader sees half of it and a failure leaves nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path):
        if _is_current(path):
            return
        if path.exists() and path.stat().st_size:
            _migrate_file(path)
            return
        draft = path.with_name(f".{path.name}.draft")
        try:
            _remove(draft)  # of a creator that was killed
            _migrate_file(draft)
            _remove(path)  # it is not there, or empty; the log of one that was removed would become the new one's
            draft.replace(path)
            _sync_folder(path.parent)
        finally:
            _remove(draft)


def _migrate_file(path: Path) -> None:
    address = _address(path, "rwc")
    with closing(_connect(address)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")  # kept in the file; where WAL is impossible, its journal stays
    with (
        _used_once(address, migrates=True) as engine,
        engine.connect().execution_options(**{WRITES: True}) as writer,
        writer.begin(),
    ):
        migrate(writer, str(path))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds the lock file beside `path`, which is removed again. One that was removed while this waited for it is no
    lock any more: the next comer makes another."""
    lock = path.with_name(f"{path.name}.lock")
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_at(handle, lock):
                try:
                    yield
                finally:
                    lock.unlink(missing_ok=True)
                return
        finally:
            os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    """Removes a database with what SQLite keeps beside it."""
    for end in ("", "-wal", "-shm", "-journal"):
        path.with_name(f"{path.name}{end}").unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _address(path: Path, mode: str) -> str:
    return f"file:{quote(str(path))}?mode={mode}"


def _connect(address: str) -> sqlite3.Connection:
    # isolation_level None: this module begins transactions itself, as Python's sqlite3 begins none before a DDL.
    return sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def _engine(address: str, *, readonly: bool = False, migrates: bool = False) -> Engine:
    engine = create_engine("sqlite://", creator=lambda: _connect(address), poolclass=QueuePool)
    return engine_of(engine, readonly=readonly, migrates=migrates)


def engine_of(engine: Engine, *, readonly: bool = False, migrates: bool = False) -> Engine:
    """`engine` with the settings of each connection and the kind of each transaction."""

    @event.listens_for(engine, "connect")
    def _set(connection: sqlite3.Connection, _: object) -> None:
        # A migration that changes a constraint makes the table anew, and others refer to it: `migrate` looks at all
        # references when it is done. https://www.sqlite.org/lang_altertable.html#otheralter
        connection.execute(f"PRAGMA foreign_keys = {'OFF' if migrates else 'ON'}")
        connection.execute(f"PRAGMA query_only = {'ON' if readonly else 'OFF'}")
        # FULL: a commit is on the disk when it returns. NORMAL loses the last ones with the machine's power; the
        # difference is 0.25 ms a trial on an NVMe disk, and a trial takes longer than that to measure.
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A writer takes its lock at once: one that reads first and then finds another has written can only fail.
        if not connection.get_execution_options().get(WRITES, False):
            connection.exec_driver_sql("BEGIN")
        else:
            _begin_in_turn(connection)

    return engine


def _begin_in_turn(connection: Connection) -> None:
    """Begins to write as soon as no other does. One that waits for too long, or fails otherwise, fails in SQLAlchemy.

    SQLite itself looks for the lock only every 0.1 s after a while: one that many wait for is free most of the time.
    """
    raw = cast(sqlite3.Connection, connection.connection.dbapi_connection)
    raw.execute("PRAGMA busy_timeout = 0")
    try:
        if not _is_begun(raw):
            connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        raw.execute(f"PRAGMA busy_timeout = {1000 * BUSY_SECONDS:.0f}")


def _is_begun(raw: sqlite3.Connection) -> bool:
    started, told = time.monotonic(), False
    while time.monotonic() < started + BUSY_SECONDS:
        try:
            raw.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY:
                return False
            if not told and time.monotonic() > started + QUIET_SECONDS:
                told = True
                _log.warning("another process has locked the store: waiting for it")
            time.sleep(random.uniform(0.0, 2 * LOOK_SECONDS))
        else:
            return True
    return False


@contextmanager
def _used_once(address: str, *, migrates: bool = False) -> Iterator[Engine]:
    engine = _engine(address, migrates=migrates)
    try:
        yield engine
    finally:
        engine.dispose()


def _store(path: Path, engine: Engine) -> Store:
    return SqlStore(str(path), engine, explain=lambda error: explain(str(path), error), passes=passes)


def passes(error: DBAPIError) -> bool:
    """Whether an error goes away when the transaction is run again."""
    return _code(error.orig) in _PASSING


def explain(name: str, error: BaseException) -> str:
    """One line for people: the store, the cause, the next step."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    cause = _CAUSES.get(_code(origin), "failed")
    return f"{name} {cause} ({origin})"


def _code(error: BaseException | None) -> int:
    """SQLite's primary result code; 0 when the error is not SQLite's."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, DBAPIError) as error:
        raise StoreError(explain(str(path), error)) from error
    except OSError as error:
        raise StoreError(f"{path} cannot be opened: {error.strerror}; check the path and its permissions") from error
