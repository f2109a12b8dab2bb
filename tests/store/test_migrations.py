"""Migrations lead from an empty database to the models, and in one step or not at all."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text

from tilewright.tuner.store import Store, StoreError, open_store
from tilewright.tuner.store.migrate import MIGRATIONS, VERSION_TABLE, schema_of
from tilewright.tuner.store.models import SCHEMA, Base
from tilewright.tuner.store.pack import pack_of, write_pack
from tilewright.tuner.store.query import best
from tilewright.tuner.store.sqlite import engine_of
from tilewright.tuner.trial import Outcome, Resources

from .conftest import NewDatabase
from .processes import Worker
from .samples import NOON, failed, measured, tiled
from .schema_file import SCHEMAS, sample, script

EARLIER: Final = sorted(file.stem for file in SCHEMAS.glob("*.sql") if file.stem < SCHEMA)
# A migration that comes some day: a problem's new field is part of what tells problems apart.
NEXT: Final = f'''
import sqlalchemy as sa
from alembic import op

revision = "{int(SCHEMA) + 1:04d}"
down_revision = "{SCHEMA}"

def upgrade():
    op.execute("DROP VIEW results")
    with op.batch_alter_table("problems") as problems:
        problems.add_column(sa.Column("epilogue_", sa.Text, nullable=False, server_default=""))
        problems.drop_constraint("uq_problems")
        problems.create_unique_constraint("uq_problems", ["m", "n", "k", "dtype", "layout", "out_dtype", "epilogue_"])
    op.execute("CREATE VIEW results AS SELECT p.m, p.epilogue_ FROM trials t JOIN problems p ON p.id = t.problem_id")
'''


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


def earlier(path: Path, revision: str) -> Path:
    """A file as the version of that schema wrote it, with two trials and a race."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((SCHEMAS / f"{revision}.sql").read_text())
        connection.execute("PRAGMA journal_mode = WAL")
    return path


def require_what_was_stored(store: Store) -> None:
    good, bad = store.trials()
    assert good.measurement is not None
    read = good.measurement
    assert (read.times_us, read.reference_us, good.started_at) == ((100.1, 99.3), (101.0, 102.0), NOON)
    assert (good.config["block_m"], good.resources) == (128, Resources(168, 4, 98304, 0.31))
    assert (bad.outcome, bad.reason) == (Outcome.WRONG, "error 3")
    (raced,) = store.races()
    assert [lane.times_us for lane in raced.lanes] == [(100.0, 101.0), (98.0, 99.0)]
    assert best(store, good.problem).winner.config == good.config


def test_there_is_a_file_of_every_schema() -> None:
    """Also of this one, which the next version will need and can no longer make."""
    missing = {script.revision for script in scripts().walk_revisions()} ^ {file.stem for file in SCHEMAS.glob("*.sql")}
    assert missing == set(), "a new schema needs its file: see CONTRIBUTING.md, A column of the store"


def test_the_file_of_this_schema_is_what_is_written_today(tmp_path: Path) -> None:
    """Nobody changes what a released schema is: what is in the field would not be migrated."""
    with closing(sqlite3.connect(earlier(tmp_path / "kept.db", SCHEMA))) as kept:
        found = content(kept)
    script(tmp_path / "today.db")
    with closing(sqlite3.connect(tmp_path / "today.db")) as today:
        assert content(today) == found, "add a migration: see CONTRIBUTING.md, A column of the store"


def content(connection: sqlite3.Connection) -> dict[str, object]:
    """Each table and view as it was made, and its rows."""
    made = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    return {
        name: (" ".join(sql.split()), sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=str))
        for name, sql in made
    }


def test_what_was_written_by_this_schema_is_read_as_it_was(tmp_path: Path) -> None:
    with open_store(earlier(tmp_path / "store.db", SCHEMA), readonly=True) as store:
        require_what_was_stored(store)
        assert write_pack(pack_of(store)) == write_pack(sample())


@pytest.mark.parametrize("revision", EARLIER)
def test_an_earlier_schema_is_migrated_with_what_is_in_it(tmp_path: Path, revision: str) -> None:
    path = earlier(tmp_path / "store.db", revision)
    with open_store(path) as store:
        require_what_was_stored(store)
        store.add(measured(tiled(256), minute=9))
    with open_store(path, readonly=True) as store:
        assert len(store.trials()) == 3
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone() == (SCHEMA,)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.mark.parametrize("revision", EARLIER)
def test_a_reader_sees_an_earlier_schema_as_it_will_be_and_leaves_it_as_it_is(tmp_path: Path, revision: str) -> None:
    path = earlier(tmp_path / "store.db", revision)
    before = path.read_bytes()
    with open_store(path, readonly=True) as store:
        require_what_was_stored(store)
        with pytest.raises(StoreError, match="cannot be written"):
            store.add(measured(tiled(256)))
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {"store.db": before}


@pytest.mark.parametrize("revision", EARLIER)
def test_processes_migrate_one_file_at_once(tmp_path: Path, revision: str) -> None:
    path = earlier(tmp_path / "store.db", revision)
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker()) for _ in range(4)]
        for worker in workers:
            worker.ready()
        for number, worker in enumerate(workers):
            worker.tell("write", path, 1000 + 5 * number, 5)
        assert sorted(int(line) for worker in workers for line in worker.lines()) == list(range(1000, 1020))
    with open_store(path, readonly=True) as store:
        assert len(store.trials()) == 22


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


@pytest.mark.parametrize("revision", EARLIER)
def test_a_server_of_an_earlier_schema_is_migrated(new_database: NewDatabase, revision: str) -> None:
    address = new_database()
    engine = create_engine(address)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["configure"] = {"connection": connection, "version_table": VERSION_TABLE}
        command.upgrade(config, revision)
    with pytest.raises(StoreError, match=f"has the earlier schema {revision}: tune into it first"):
        open_store(address, readonly=True)
    with open_store(address) as store:
        store.add(measured(tiled(1)))
    with engine.connect() as connection:
        assert differences(connection) == []
    engine.dispose()


@pytest.fixture
def next_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The version after this one."""
    revision = f"{int(SCHEMA) + 1:04d}"
    copy = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "versions" / f"{revision}_next.py").write_text(NEXT)
    monkeypatch.setattr("tilewright.tuner.store.migrate.MIGRATIONS", copy)
    for module in ("migrate", "sqlite", "postgresql"):
        monkeypatch.setattr(f"tilewright.tuner.store.{module}.SCHEMA", revision)
    return revision


@pytest.mark.parametrize("revision", [*EARLIER, SCHEMA])
def test_a_table_that_others_refer_to_can_be_made_anew(tmp_path: Path, next_schema: str, revision: str) -> None:
    """SQLite changes no constraint: the table is dropped, and nothing that refers to it may be lost."""
    path = earlier(tmp_path / "store.db", revision)
    with open_store(path, readonly=True) as store:
        require_what_was_stored(store)
    with open_store(path) as store:
        require_what_was_stored(store)
        store.add(measured(tiled(256), minute=9))
        assert len(store.problems()) == 1
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone() == (next_schema,)
        assert connection.execute("SELECT * FROM results").fetchall() == [(512, "")] * 3
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_a_table_of_a_server_is_altered_too(new_database: NewDatabase, request: pytest.FixtureRequest) -> None:
    address = new_database()
    with open_store(address) as store:
        store.add_all([measured(tiled(128)), failed(tiled(64))])
    request.getfixturevalue("next_schema")
    with open_store(address) as store:
        store.add(measured(tiled(256)))
        assert (len(store.trials()), len(store.problems())) == (3, 1)


def test_a_file_whose_rows_refer_to_nothing_is_not_migrated(tmp_path: Path) -> None:
    path = earlier(tmp_path / "store.db", EARLIER[0])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM configs WHERE id = 1")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(
        StoreError, match=f"cannot be brought to schema {SCHEMA}: 2 rows, the first of .* refer to what is not"
    ):
        open_store(path)
    assert path.read_bytes() == before


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
