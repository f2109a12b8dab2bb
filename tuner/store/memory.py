"""The store in memory, for a study whose trials nobody wants to keep, and for tests."""

from __future__ import annotations

import sqlite3

from sqlalchemy import QueuePool, create_engine

from .migrate import migrate
from .protocol import Store, StoreError
from .sql import WRITES, SqlStore
from .sqlite import engine_of, explain, passes


def open_url(url: str, readonly: bool) -> Store:
    """A new, empty store; see `open_store`.

    Raises:
        StoreError: it is to be read only, and nothing could ever be in it.
    """
    if readonly:
        raise StoreError(f"{url} is empty when it is opened: open it for writing, or give the path of a store")
    # One connection, which the pool keeps: the database lives as long as it. Threads wait for one another.
    engine = engine_of(create_engine("sqlite://", creator=_connect, poolclass=QueuePool, pool_size=1, max_overflow=0))
    with engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        migrate(connection, url)
    return SqlStore(url, engine, explain=lambda error: explain(url, error), passes=passes)


def _connect() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
