"""Migrations lead from an empty database to the models, and in one step or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text

from tilewright.tuner.store import StoreError, open_store
from tilewright.tuner.store.migrate import MIGRATIONS, VERSION_TABLE, schema_of
from tilewright.tuner.store.models import SCHEMA, Base
from tilewright.tuner.store.sqlite import engine_of

from .conftest import NewDatabase


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return ScriptDirectory.from_config(config)


def differences(connection: Connection) -> list[object]:
    options = {"compare_type": True, "version_table": VERSION_TABLE}
    found: list[object] = compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)
    return found


def test_the_models_describe_the_last_migration() -> None:
    assert scripts().get_heads() == [SCHEMA]


def test_revisions_are_numbered_in_order() -> None:
    revisions = [script.revision for script in scripts().walk_revisions()][::-1]
    assert revisions == [f"{number:04d}" for number in range(1, len(revisions) + 1)]


def test_migrations_make_what_the_models_say_in_a_file(tmp_path: Path) -> None:
    open_store(tmp_path / "store.db").close()
    engine = create_engine(f"sqlite:///{tmp_path / 'store.db'}")
    with engine.connect() as connection:
        assert schema_of(connection, "store") == SCHEMA
        assert differences(connection) == []
    engine.dispose()


def test_migrations_make_what_the_models_say_on_a_server(new_database: NewDatabase) -> None:
    address = new_database()
    open_store(address).close()
    engine = create_engine(address)
    with engine.connect() as connection:
        assert differences(connection) == []
    engine.dispose()


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last statement of the first migration cannot be run: the tables before it are gone again."""
    copy = tmp_path / "migrations"
    (copy / "versions").mkdir(parents=True)
    for file in (MIGRATIONS / "env.py", *(MIGRATIONS / "versions").glob("*.py")):
        text_ = file.read_text().replace("op.execute(RESULTS)", 'op.execute("CREATE VIEW results AS SELECT")')
        (copy / file.relative_to(MIGRATIONS)).write_text(text_)
    monkeypatch.setattr("tilewright.tuner.store.migrate.MIGRATIONS", copy)
    folder = tmp_path / "stores"
    with pytest.raises(StoreError, match=r"store\.db failed \(incomplete input\)"):
        open_store(folder / "store.db")
    assert list(folder.iterdir()) == []
    half = folder / "half.db"
    engine = engine_of(create_engine(f"sqlite:///{half}", connect_args={"isolation_level": None}))
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL)"))
    with pytest.raises(StoreError, match="incomplete input"):
        open_store(half)
    assert inspect(engine).get_table_names() == [VERSION_TABLE]
    engine.dispose()
