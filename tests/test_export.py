"""The table that dispatch loads: what is in it, that it is read as it was written, and that it is written whole."""

from __future__ import annotations

import dataclasses
import json
import math
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tilewright.kernels.config import Config
from tilewright.kernels.dispatch.table import read_table
from tilewright.kernels.document import DocumentError
from tilewright.kernels.problem import Problem
from tilewright.tuner.export import table_of, write_table
from tilewright.tuner.files import write_atomically
from tilewright.tuner.store import Store, StoreError, open_store

from .store.mutations import mutated
from .store.samples import CUBLAS, DEVICE, ENVIRONMENT, PROBLEM, measured, race, tiled

NEWER = dataclasses.replace(ENVIRONMENT, triton="3.8.0")
EIGHT = (1.0, 1.001, 0.999, 1.0, 1.002, 0.998, 1.0, 1.0)
DECODE = Problem(16, 4096, 4096)
# Points of the family's space, for the one problem and for the other.
GOOD = {block_m: tiled(block_m, block_n=64) for block_m in (16, 32, 64, 128)}
SMALL, SMALLER = tiled(16, group_m=1), tiled(16, group_m=1, num_stages=2)


@pytest.fixture
def store() -> Iterator[Store]:
    """Two problems: one raced, with cuBLAS behind three kernels; one measured alone, and won by a library."""
    with open_store("memory://") as opened:
        times = {GOOD[128]: 90.0, GOOD[64]: 95.0, GOOD[32]: 98.0, GOOD[16]: 99.0, CUBLAS: 100.0}
        opened.add_race(race({config: tuple(time * one for one in EIGHT) for config, time in times.items()}))
        opened.add_all([measured(SMALL, 30.0, problem=DECODE), measured(CUBLAS, 20.0, problem=DECODE)])
        yield opened


def test_a_table_ranks_the_configs_of_each_problem_with_the_library_among_them(store: Store) -> None:
    table = table_of(store)
    assert table.device == DEVICE
    assert [one.config for one in table.winners[PROBLEM]] == [GOOD[128], GOOD[64], GOOD[32], CUBLAS]
    assert [one.config for one in table.winners[DECODE]] == [CUBLAS, SMALL]
    assert [one.config for one in table_of(store, top=1).winners[PROBLEM]] == [GOOD[128], CUBLAS]
    assert list(table_of(store, DEVICE.name, [DECODE]).winners) == [DECODE]


def test_a_deterministic_table_has_no_library(store: Store) -> None:
    table = table_of(store, deterministic=True)
    assert [one.config for one in table.winners[PROBLEM]] == [GOOD[128], GOOD[64], GOOD[32]]
    assert [one.config for one in table.winners[DECODE]] == [SMALL]


def test_a_table_is_read_as_it_was_written(store: Store) -> None:
    store.add(measured(SMALLER, 25.0, problem=DECODE, reference_us=(26.0,)))  # too few readings for an interval
    table = table_of(store)
    text = write_table(table)
    again = read_table(text.encode(), "table.json")
    assert again == table
    assert write_table(again) == text
    assert math.isinf(next(one.ratio.high for one in again.winners[DECODE] if one.ratio))


def test_what_is_stale_or_no_longer_a_point_of_its_family_is_left_out(store: Store) -> None:
    store.add(measured(SMALLER, 500.0, problem=DECODE, environment=NEWER))
    store.add(measured(tiled(48), 2.0, problem=DECODE, environment=NEWER))
    store.add(measured(Config.of("wgmma", block_m=64), 1.0, problem=DECODE, environment=NEWER))
    table = table_of(store, today=NEWER)
    assert {problem: [one.config for one in row] for problem, row in table.winners.items()} == {DECODE: [SMALLER]}


def test_there_is_no_table_of_nothing(store: Store) -> None:
    with pytest.raises(StoreError, match="has no result of Another for a table"):
        table_of(store, "Another")
    store.add(measured(GOOD[16], device=dataclasses.replace(DEVICE, name="Another")))
    with pytest.raises(StoreError, match="name one of these devices"):
        table_of(store)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), "tilewright-pack", '"format" must be "tilewright-table"'),
        (("version",), 2, "upgrade tilewright"),
        (("device", "sm_count"), -1, "sm_count is -1"),
        (("winners", 0, "ranked"), [], "ranks nothing for 16x4096x4096"),
        (("winners", 1, "problem", "m"), 16, "has 16x4096x4096-bf16-nt once more"),
        (("winners", 0, "ranked", 0, "median_us"), 0, "a time is above 0"),
        (("winners", 0, "ranked", 0, "median_us"), 1e-6, "no device reaches"),
        (("winners", 0, "ranked", 0, "raced"), 1, "true or false"),
        (("winners", 0, "ranked", 0, "environment"), "mine", "use one of triton-3.7.1-"),
        (("winners", 1, "ranked", 0, "ratio", "low"), 2.0, "low, median and high must be in this order"),
        (("winners", 1, "ranked", 0, "reference"), {"axes": {}, "family": "blas"}, "use one of tiled"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    store: Store, path: tuple[Any, ...], value: object, message: str
) -> None:
    root = json.loads(write_table(table_of(store)))
    place = root
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(DocumentError, match=message):
        read_table(json.dumps(root).encode(), "table.json")


@pytest.mark.parametrize("count", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_mutated_table_is_refused_in_one_line_or_read(store: Store, count: int) -> None:
    outcomes = [outcome_of(data) for data in mutated(write_table(table_of(store)).encode(), count)]
    assert count / 2 < outcomes.count("refused") < count


def outcome_of(data: bytes) -> str:
    begun = time.monotonic()
    try:
        table, message = read_table(data, "table.json"), ""
    except DocumentError as error:
        table, message = None, str(error)
    assert time.monotonic() - begun < 5
    if table is None:
        assert message.startswith("table.json")
        assert "\n" not in message
        return "refused"
    assert read_table(write_table(table).encode(), "again") == table
    return "read"


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text("old")
    link = tmp_path / "link.json"
    link.symlink_to(path)
    write_atomically(link, "through a link")
    assert link.is_symlink()
    assert path.read_text() == "through a link"
    link.unlink()
    write_atomically(path, "new")
    assert path.read_text() == "new"
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "half\ud800")
    assert path.read_text() == "new"
    assert [one.name for one in tmp_path.iterdir()] == ["table.json"]
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "missing" / "table.json", "new")


def test_a_disk_that_is_full_is_told_with_the_file_s_name_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write_atomically(path, "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["table.json"]
