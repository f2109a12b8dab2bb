"""The store in a PostgreSQL database, for many machines that tune into one place."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from .migrate import migrate, schema_of
from .models import SCHEMA
from .protocol import Store, StoreError
from .sql import SqlStore

_DRIVER: Final = "postgresql+psycopg"
_MIGRATION_LOCK: Final = 0x71_1E_57_08  # any number that no other program is likely to take
# Serialization failure, deadlock, lock not available, and a server that went away: writes are upserts, so that one
# whose fate is unknown may be sent again. https://www.postgresql.org/docs/current/errcodes-appendix.html
_PASSING: Final = ("40001", "40P01", "55P03", "57P01", "57P02", "08006", "08003")


def open_url(url: str, readonly: bool) -> Store:
    """The store at `postgresql+psycopg://user@host/database`; see `open_store`."""
    try:
        address = make_url(url)
        address = address.set(drivername=_DRIVER) if address.drivername == "postgresql" else address
        options = {"options": "-c default_transaction_read_only=on"} if readonly else {}
        engine = create_engine(address, connect_args=options, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise StoreError(f"PostgreSQL needs {error.name}: run pip install 'tilewright[postgresql]'") from error
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        shown = f"{_DRIVER}://...@{url.rpartition('@')[2]}" if "@" in url else url
        raise StoreError(f"{shown} is no PostgreSQL address: write {_DRIVER}://user@host:port/database") from error
    name = address.render_as_string(hide_password=True)
    try:
        found = _bring_up(engine, name, readonly)
    except DBAPIError as error:
        engine.dispose()
        raise StoreError(_explain(name, error)) from error
    except BaseException:
        engine.dispose()
        raise
    if found != SCHEMA:
        engine.dispose()
        what = "holds no store yet" if found is None else f"has the earlier schema {found}"
        raise StoreError(f"{name} {what}: tune into it first, which brings it to schema {SCHEMA}")
    return SqlStore(name, engine, explain=lambda error: _explain(name, error), passes=_passes)


def _bring_up(engine: Engine, name: str, readonly: bool) -> str | None:
    """The database's schema, migrated first unless it is only to be read."""
    with engine.connect() as connection, connection.begin():
        found = schema_of(connection, name)
        if found == SCHEMA or readonly:
            return found
    with engine.connect() as connection, connection.begin():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        if schema_of(connection, name) != SCHEMA:
            migrate(connection, name)
    return SCHEMA


def _passes(error: DBAPIError) -> bool:
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _PASSING


def _explain(name: str, error: DBAPIError) -> str:
    cause = " ".join(str(error.orig).split())
    return f"{name} failed: {cause}; check that the server runs and that you may write; what was kept before is safe"
