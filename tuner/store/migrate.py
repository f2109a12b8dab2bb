"""Brings a database to the schema of `models.py`, in one transaction, and refuses what is not ours or is newer."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from .models import SCHEMA, Base
from .protocol import StoreError

MIGRATIONS: Final = Path(__file__).with_name("migrations")
VERSION_TABLE: Final = "tilewright_schema"
KNOWN: Final = tuple(f"{number:04}" for number in range(1, int(SCHEMA) + 1))


def schema_of(connection: Connection, name: str) -> str | None:
    """The schema of a database: None when it is empty.

    Raises:
        StoreError: it holds another program's tables, or its schema is newer than this version.
    """
    tables = set(inspect(connection).get_table_names())
    if VERSION_TABLE not in tables:
        foreign = sorted(tables)
        if foreign and (connection.dialect.name == "sqlite" or tables & set(Base.metadata.tables)):
            raise StoreError(
                f"{name} holds another program's tables ({', '.join(foreign[:3])}): give the path of a store, "
                "or of a file that is not there yet"
            )
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    if found is None:
        return None
    if str(found) not in KNOWN and str(found) <= SCHEMA:
        raise StoreError(f"{name} has schema {found}, which is none: restore a copy; nothing was changed")
    if str(found) > SCHEMA:
        raise StoreError(
            f"{name} has schema {found} and this version knows up to {SCHEMA}: upgrade tilewright; nothing was changed"
        )
    return str(found)


def migrate(connection: Connection, name: str) -> None:
    """Runs the migrations that are missing, in the transaction that `connection` is in.

    Raises:
        StoreError: the schema that the database names is none of ours.
    """
    # Alembic takes a quarter of a second to import, and is needed once in a store's life.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["configure"] = {"connection": connection, "version_table": VERSION_TABLE}
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError(f"{name} cannot be brought to schema {SCHEMA}: {error}; nothing was changed") from error
    if connection.dialect.name == "sqlite" and (lost := connection.exec_driver_sql("PRAGMA foreign_key_check").all()):
        raise StoreError(
            f"{name} cannot be brought to schema {SCHEMA}: {len(lost)} rows, the first of {lost[0][0]}, refer to what "
            "is not there; nothing was changed: restore a copy or import a tuning pack"
        )
