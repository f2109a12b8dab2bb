"""Packs: the same results have the same text, what is read is what was written, and what is wrong is refused whole."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.kernels.config import Config
from tilewright.kernels.document import DocumentError
from tilewright.kernels.families import FAMILIES
from tilewright.kernels.problem import Problem
from tilewright.tuner.store import Store, StoreError, open_store
from tilewright.tuner.store.pack import Pack, pack_of, write_pack
from tilewright.tuner.store.unpack import read_pack
from tilewright.tuner.trial import Check, Race, Resources, Trial

from .mutations import mutated
from .samples import CUBLAS, DEVICE, ENVIRONMENT, PROBLEM, failed, measured, race, races, tiled, trials

OTHER = dataclasses.replace(DEVICE, name="Another")
CHECK = Check(float("nan"), 1.0, 3, 5, float("nan"), 1.5, PROBLEM.key)


def sample() -> Pack:
    return Pack(
        (
            measured(tiled(128), 100.0, 101.5, reference_us=(99.0, 98.0), resources=Resources(168, 0, 98304, 0.25)),
            measured(tiled(64), 120.0, device=OTHER),
            measured(CUBLAS, 99.0),
            dataclasses.replace(failed(tiled(16), reason="NaN at [3, 5]", minute=7), checks=(CHECK,)),
            measured(tiled(32), 80.0, problem=Problem(16, 4096, 4096), minute=3),
        ),
        (race({CUBLAS: (99.0, 98.0, 99.5), tiled(128): (97.0, 96.0)}, minute=5, notes=("a tie",)),),
    )


def imported(pack: Pack, store: Store) -> Store:
    store.add_all(pack.trials, pack.races)
    return store


@settings(max_examples=25, deadline=None)
@given(st.lists(trials(), max_size=6), st.lists(races(), max_size=3))
def test_export_import_export_gives_the_same_bytes(tried: list[Trial], raced: list[Race]) -> None:
    with open_store("memory://") as first, open_store("memory://") as second:
        text = write_pack(pack_of(imported(Pack(tuple(tried), tuple(raced)), first)))
        again = read_pack(text.encode(), "pack.json")
        assert write_pack(again) == text
        assert write_pack(pack_of(imported(again, second))) == text


@settings(max_examples=25, deadline=None)
@given(st.lists(trials(), max_size=4), st.randoms(use_true_random=False))
def test_trials_come_back_from_a_store_as_they_were(tried: list[Trial], chance: Any) -> None:
    """In whatever order and however often they are added."""
    keys = {
        (one.problem, one.device, one.environment, one.config, one.measurement and one.measurement.protocol)
        for one in tried
    }
    if len(keys) < len(tried):
        return
    with open_store("memory://") as store:
        many = [*tried, *tried]
        chance.shuffle(many)
        store.add_all(many)
        assert write_pack(Pack(tuple(store.trials()), ())) == write_pack(Pack(tuple(tried), ()))


def test_a_pack_is_a_line_a_result_and_says_what_it_is() -> None:
    text = write_pack(sample())
    root = json.loads(text)
    assert (root["format"], root["version"]) == ("tilewright-pack", 1)
    lines = [line for line in text.splitlines() if line.startswith('{"axes"')]
    assert len(lines) == 5
    assert [json.loads(line.rstrip(","))["problem"]["m"] for line in lines] == [16, 512, 512, 512, 512]


def test_the_order_of_results_is_of_no_matter() -> None:
    pack = sample()
    assert write_pack(Pack(pack.trials[::-1], pack.races)) == write_pack(pack)


def test_merging_is_the_same_in_any_order() -> None:
    newer = measured(tiled(128), 50.0, minute=60)
    packs = [sample(), Pack((newer,), ()), Pack((measured(tiled(256), 70.0),), sample().races)]
    texts = []
    for order in (packs, packs[::-1], [packs[1], packs[0], packs[2], packs[0]]):
        with open_store("memory://") as store:
            for pack in order:
                imported(pack, store)
            texts.append(write_pack(pack_of(store)))
    assert texts[0] == texts[1] == texts[2]
    assert newer in read_pack(texts[0].encode(), "pack.json").trials


def test_a_pack_of_some(memory: Store) -> None:
    imported(sample(), memory)
    assert {one.problem for one in pack_of(memory, [PROBLEM]).trials} == {PROBLEM}
    assert [one.config for one in pack_of(memory, device="Another").trials] == [tiled(64)]
    top = pack_of(memory, [PROBLEM], DEVICE.name, top=1)
    assert {one.config for one in top.trials} == {CUBLAS, tiled(128)}  # by time, and by speed beside the library
    assert top.races == sample().races


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), "tilewright-table", '"format" must be "tilewright-pack"'),
        (("version",), 2, "has version 2, and this one reads up to 1: upgrade tilewright"),
        (("version",), "1", "a whole number"),
        (("trials",), {}, "pack.json: trials is {}: a list is needed here"),
        (("trials", 0, "family"), "wgmma", "family is 'wgmma': use one of tiled, descriptor"),
        (("trials", 0, "axes"), {}, "tiled is a kernel and has axes"),
        (("trials", 2, "axes"), {"block_m": 1}, "cublas is a library and has no axes"),
        (("trials", 0, "axes", "block_m"), 1.5, "axes.block_m is 1.5: a whole number"),
        (("trials", 0, "axes", "block_m"), True, "is True: a whole number"),
        (("trials", 0, "outcome"), "fine", "outcome is 'fine': use one of measured"),
        (("trials", 0, "problem", "m"), -1, "m is -1: a whole number from 0"),
        (("trials", 0, "problem", "dtype"), "int4", "use one of bf16"),
        (("trials", 0, "device"), "mine", "use one of another-"),
        (("trials", 0, "environment"), "mine", "use one of triton-3.7.1-"),
        (("trials", 0, "started_at"), "2026-01-31T12:00:00", "needs its time zone"),
        (("trials", 0, "started_at"), "3026-01-31T12:00:00Z", "has not come yet"),
        (("trials", 0, "started_at"), "1970-01-01T00:00:00Z", "a clock that was not set"),
        (("trials", 0, "started_at"), "noon", "Invalid isoformat string"),
        (("trials", 0, "measurement"), None, "is measured but has no measurement"),
        (("trials", 0, "measurement", "times_us"), [], "no time at all"),
        (("trials", 0, "measurement", "times_us", 0), -1.0, r"times_us\[0\] is -1.0: a number from 0"),
        (("trials", 0, "measurement", "times_us"), [0.001], "no device reaches 100000"),
        (("trials", 0, "measurement", "times_us", 0), 10**400, "a number from 0"),
        (("trials", 0, "measurement", "temperature_c"), 5000, "from -273 to 1000"),
        (("trials", 4, "checks", 0, "error"), "big", "error is 'big': a number"),
        (("trials", 0, "reason"), "\ud800", "holds a character that no database keeps"),
        (("races", 0, "confidence"), 1, "confidence is 1.0"),
        (("races", 0, "lanes"), [], "has 0 lanes"),
        (("races", 0, "lanes", 1, "family"), 7, "use one of tiled"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(path: tuple[Any, ...], value: object, message: str) -> None:
    root = json.loads(write_pack(sample()))
    place = root
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(DocumentError, match=message) as caught:
        read_pack(json.dumps(root).encode(), "pack.json")
    assert str(caught.value).startswith("pack.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not JSON as we write it"),
        (b"[1, 2]", "an object is needed here"),
        (b"{}", "is no tilewright-pack"),
        (b'{"format": "tilewright-pack"}', 'has no "version"'),
        (b'{"format": "tilewright-pack", "version": 1}', "misses devices, environments, races"),
        (b'{"format": 1, "format": 2}', "has 'format' twice"),
        (b"[" * 100_000, "is nested too deeply"),
        (b"1" * 10_000, "is not JSON as we write it"),
        (b'{"' + b"x\\u0007" * 900 + b'": 1, "' + b"x\\u0007" * 900 + b'": 1}', r"has 'x\\x07x"),
        (b'{"format": NaN}', "NaN is no JSON number"),
        (b"\xff\xff", "is not JSON as we write it"),
        (b"\x80\x04\x95\x10.", "is not JSON as we write it"),  # a pickle
    ],
)
def test_what_is_no_pack_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        read_pack(data, "pack.json")


def test_devices_of_another_maker_and_devices_that_are_not_wanted_are_refused() -> None:
    data = write_pack(sample()).encode()
    assert len(read_pack(data, "pack.json", devices=[DEVICE.name, "Another"]).trials) == 5
    with pytest.raises(DocumentError, match=r"name is 'Another': a foreign device, only NVIDIA H100 \(nominal\)"):
        read_pack(data, "pack.json", devices=[DEVICE.name])
    with pytest.raises(DocumentError, match="arch is 'gfx942': a device of another maker"):
        read_pack(data.replace(b'"arch":"sm90"', b'"arch":"gfx942"'), "pack.json")


def test_what_was_replayed_is_handed_on_too() -> None:
    device = dataclasses.replace(DEVICE, name="replay of nvidia-h200", arch="replay", sm_count=0)
    text = write_pack(Pack((measured(tiled(64), device=device),), ()))
    assert write_pack(read_pack(text.encode(), "pack.json")) == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-be"])
def test_other_encodings_of_json_are_read(encoding: str) -> None:
    text = write_pack(sample())
    assert write_pack(read_pack(text.encode(encoding), "pack.json")) == text


@pytest.mark.parametrize("count", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_mutated_pack_is_refused_in_one_line_or_imported_whole(tmp_path: Path, count: int) -> None:
    refused = 0
    store = open_store("memory://")
    for data in mutated(write_pack(sample()).encode(), count):
        if is_imported(data, store):
            store.close()
            store = open_store("memory://")
        else:
            refused += 1
    store.close()
    assert count / 2 < refused < count


def is_imported(data: bytes, store: Store) -> bool:
    """Imports a document into an empty store, and holds that it went in whole or not at all, soon, and in few words."""
    begun = time.monotonic()
    try:
        pack = read_pack(data, "pack.json")
        imported(pack, store)
    except (DocumentError, StoreError) as error:
        message = str(error)
    else:
        message = ""
        kept = pack_of(store)
        assert len(kept.trials) <= len(pack.trials)
        assert read_pack(write_pack(kept).encode(), "again") is not None
    if message:
        assert message.startswith(("pack.json", "memory://"))
        assert "\n" not in message
        assert len(message) < 1000
        assert store.trials() == []
        assert store.races() == []
    assert time.monotonic() - begun < 5
    return not message


def test_a_pack_that_is_wrong_at_its_end_leaves_the_store_as_it_was(memory: Store) -> None:
    memory.add(measured(tiled(1)))
    wrong = dataclasses.replace(measured(Config.of("ti\0led", block_m=1)), environment=ENVIRONMENT)
    with pytest.raises(ValueError, match="no database keeps"):
        memory.add_all([*sample().trials, wrong], sample().races)
    assert memory.trials() == [measured(tiled(1))]
    assert memory.races() == []


def test_a_family_of_ones_own_is_known_only_when_it_is_vouched_for() -> None:
    own = dataclasses.replace(FAMILIES["tiled"], name="my.kernels:gemm")
    text = write_pack(Pack((measured(Config.of(own.name, block_m=64)),), ()))
    with pytest.raises(DocumentError, match=r"family is 'my\.kernels:gemm': use one of tiled"):
        read_pack(text.encode(), "pack.json")
    assert write_pack(read_pack(text.encode(), "pack.json", families={own.name: own})) == text
