"""A store on a PostgreSQL server: several processes at once, a server that goes away, addresses that are wrong."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from sqlalchemy import create_engine, text

from tilewright.tuner.store import StoreError, open_store
from tilewright.tuner.store.migrate import VERSION_TABLE

from .conftest import NewDatabase
from .processes import Worker
from .samples import measured, tiled
from .worker import numbers


def run(address: str, statement: str) -> None:
    engine = create_engine(address, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


def test_processes_create_and_write_one_database(new_database: NewDatabase) -> None:
    address = new_database()
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker()) for _ in range(4)]
        for worker in workers:
            worker.ready()
        for number, worker in enumerate(workers):
            worker.tell("write", address, number * 25, 25)
        said = [line for worker in workers for line in worker.lines()]
    assert sorted(map(int, said)) == list(range(100))
    with open_store(address, readonly=True) as store:
        assert numbers(store) == list(range(100))


def test_a_connection_that_was_cut_is_made_anew(new_database: NewDatabase) -> None:
    address = new_database()
    with open_store(address) as store:
        store.add(measured(tiled(1)))
        others = "pid <> pg_backend_pid() AND datname = current_database()"
        run(address, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
        store.add(measured(tiled(2)))
        assert len(store.trials()) == 2


@pytest.mark.parametrize("readonly", [False, True])
def test_a_newer_schema_is_refused(new_database: NewDatabase, readonly: bool) -> None:
    address = new_database()
    open_store(address).close()
    run(address, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(StoreError, match="has schema 9999 and this version knows up to"):
        open_store(address, readonly=readonly)


def test_another_programs_tables_are_left_alone_unless_they_have_our_names(new_database: NewDatabase) -> None:
    address = new_database()
    run(address, "CREATE TABLE recipes (id INTEGER)")
    open_store(address).close()
    address = new_database()
    run(address, "CREATE TABLE trials (id INTEGER)")
    with pytest.raises(StoreError, match=r"holds another program's tables \(trials\)"):
        open_store(address)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("postgresql+psycopg://me:secret@127.0.0.1:1/none", "failed: connection failed"),
        ("postgresql://me:secret@127.0.0.1:1/none", "failed: connection failed"),
        ("postgresql://me:secret@host:port/none", "is no PostgreSQL address"),
        ("postgresql+carrier_pigeon://me:secret@host/none", "is no PostgreSQL address"),
    ],
)
def test_an_address_that_leads_nowhere_is_told_without_its_password(address: str, message: str) -> None:
    with pytest.raises(StoreError, match=message) as caught:
        open_store(address)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
