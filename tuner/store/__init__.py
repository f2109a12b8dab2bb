"""Keeps every trial and every race, and answers questions about them: SQLite, PostgreSQL or memory."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import MappingProxyType
from typing import Final

from .protocol import Holding, Store, StoreError, TrialQuery

__all__ = ["STORES", "Holding", "Store", "StoreError", "TrialQuery", "open_store"]

# Scheme of the address, and the module here whose `open_url(url, readonly)` opens it. A module is imported when its
# scheme is asked for: SQLAlchemy takes a quarter of a second to import.
STORES: Final = MappingProxyType(
    {
        "memory": "memory",
        "sqlite": "sqlite",
        "postgresql": "postgresql",
    }
)


# What SQLite itself would take, and no name of a file.
NO_PATHS: Final = ("", ":memory:", "sqlite://", "sqlite:///", "sqlite:///:memory:")


def open_store(where: str | Path, *, readonly: bool = False) -> Store:
    """The store at `where`, created or migrated when it is to be written and needs to be.

    Args:
        where: a path (SQLite), `sqlite:///path`, `memory://`, or `postgresql+psycopg://user@host/database`.
        readonly: nothing is created, migrated or written; what is not there is an error.

    Raises:
        StoreError: no such store, another program's file, a newer schema, or no permission; the file is untouched.
    """
    if str(where) in NO_PATHS:
        raise StoreError(f"store {str(where)!r} names no file: give a path, or memory:// for one that is not kept")
    address = f"sqlite:///{where}" if isinstance(where, Path) or "://" not in where else where
    scheme = address.partition("://")[0].partition("+")[0]
    if scheme not in STORES:
        raise StoreError(
            f"store {address.partition('://')[0]}://... is of no known kind: give a path, or a URL that starts with "
            f"{', '.join(f'{known}://' for known in STORES)}"
        )
    opened: Store = importlib.import_module(f".{STORES[scheme]}", __name__).open_url(address, readonly)
    return opened
