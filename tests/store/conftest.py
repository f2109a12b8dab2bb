"""A store of each kind, opened anew for each test; PostgreSQL is a real server that runs as long as the tests do."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from tilewright.tuner.store import STORES, Store, open_store

NewDatabase = Callable[[], str]


@pytest.fixture(scope="session")
def new_database() -> Iterator[NewDatabase]:
    """Makes an empty PostgreSQL database and gives its URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a missing XDG_RUNTIME_DIR, as it is imported
        pgserver = pytest.importorskip("pgserver", reason="pgserver has no wheel for this Python")
    # Not below pytest's own folder: started by root, the server becomes a user that may not enter it.
    folder = tempfile.mkdtemp(prefix="tilewright-postgresql-")
    server = pgserver.get_server(folder, cleanup_mode="stop")
    address = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    admin = create_engine(address, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:  # nobody pulls its plug
        connection.execute(text("ALTER SYSTEM SET fsync = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    numbers = itertools.count()

    def make() -> str:
        name = f"store_{next(numbers)}"
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        return address.set(database=name).render_as_string(hide_password=False)

    yield make
    admin.dispose()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=list(STORES))
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a store of each kind that is not there yet."""
    if request.param == "postgresql":
        make: NewDatabase = request.getfixturevalue("new_database")
        return make()
    return {"memory": "memory://", "sqlite": str(tmp_path / "store.db")}[request.param]


@pytest.fixture
def store(where: str) -> Iterator[Store]:
    """An empty store of each kind."""
    with open_store(where) as opened:
        yield opened


@pytest.fixture
def memory() -> Iterator[Store]:
    """An empty store in memory, where the kind of store is of no matter."""
    with open_store("memory://") as opened:
        yield opened
