"""Processes that create, write and read one file at the same moment, and that are killed while they do."""

from __future__ import annotations

import random
import sqlite3
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tilewright.tuner.store import open_store

from .processes import Worker
from .worker import numbers


@pytest.mark.parametrize(
    ("writers", "readers", "trials", "rounds"),
    [(6, 4, 25, 2), pytest.param(16, 64, 500, 30, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])],
)
def test_processes_create_and_write_one_file(
    tmp_path: Path, writers: int, readers: int, trials: int, rounds: int
) -> None:
    with ExitStack() as stack:
        writing = [stack.enter_context(Worker()) for _ in range(writers)]
        reading = [stack.enter_context(Worker()) for _ in range(readers)]
        for worker in (*writing, *reading):
            worker.ready()
        for turn in range(rounds):
            where = tmp_path / f"{turn}.db"
            for worker in reading:
                worker.tell("read", where, 0.01 * trials)
            for number, worker in enumerate(writing):
                worker.tell("write", where, number * trials, trials)
            said = [line for worker in writing for line in worker.lines()]
            reads = [line for worker in reading for line in worker.lines()]
            assert sorted(map(int, said)) == list(range(writers * trials))
            assert all(line.isdecimal() for line in reads), reads
            with open_store(where, readonly=True) as store:
                assert numbers(store) == list(range(writers * trials))
            assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(f".{turn}.")) == []


@pytest.mark.parametrize("kills", [6, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])])
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, kills: int) -> None:
    """Three write all the time; one after another is killed and replaced, in its first moments, which create the file,
    or later."""
    chance = random.Random(0)
    acknowledged: set[int] = set()
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker()) for _ in range(3)]
        waiting = stack.enter_context(Worker())
        where = tmp_path / "store.db"
        for worker in workers:
            worker.ready()
        for number, worker in enumerate(workers):
            worker.tell("write", where, number * 1_000_000, 1_000_000)
        for turn in range(kills):
            waiting.ready()
            time.sleep(chance.uniform(0.0, 0.5))
            victim = workers.pop(chance.randrange(len(workers)))
            acknowledged.update(victim.kill())
            if where.exists():
                assert integrity(where) == "ok"
            waiting.tell("write", where, (3 + turn) * 1_000_000, 1_000_000)
            workers.append(waiting)
            waiting = stack.enter_context(Worker())
        for worker in workers:
            acknowledged.update(worker.kill())
    assert integrity(where) == "ok"
    with open_store(where) as store:
        kept = numbers(store)
    assert len(kept) == len(set(kept))
    assert acknowledged - set(kept) == set()
    assert acknowledged


@pytest.mark.parametrize("kills", [6, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])])
def test_a_file_is_whole_or_not_there_when_its_creator_is_killed(tmp_path: Path, kills: int) -> None:
    chance = random.Random(1)
    for turn in range(kills):
        where = tmp_path / str(turn) / "store.db"
        with Worker() as worker:
            worker.ready()
            worker.tell("write", where, 0, 1_000_000)
            time.sleep(chance.uniform(0.0, 0.4))
            acknowledged = worker.kill()
        if where.exists():
            assert integrity(where) == "ok"
        with open_store(where) as store:
            assert set(acknowledged) <= set(numbers(store))


def integrity(where: Path) -> str:
    with closing(sqlite3.connect(where)) as connection:
        found: str = connection.execute("PRAGMA integrity_check").fetchone()[0]
    return found
