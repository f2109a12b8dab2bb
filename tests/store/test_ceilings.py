"""What a device can do is kept with it: in every kind of store and through a pack."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilewright.kernels.device import nominal
from tilewright.kernels.document import DocumentError
from tilewright.tuner.roofline import Ceilings
from tilewright.tuner.store import Store, open_store
from tilewright.tuner.store.pack import Pack, write_pack
from tilewright.tuner.store.ranking import ranking
from tilewright.tuner.store.unpack import read_pack

from .samples import CUBLAS, DEVICE, NOON, PROBLEM, ceilings, measured, race, tiled

FOUND = Ceilings(DEVICE, NOON, 4300.0, bf16_tflops=790.0, pinned_up_gbs=55.0)


def test_the_newest_stand_whatever_the_order(store: Store) -> None:
    newer = replace(FOUND, measured_at=NOON + timedelta(hours=1), bf16_tflops=800.0)
    for one in (FOUND, newer, FOUND):
        store.add_ceilings(one)
    assert store.ceilings(DEVICE.name) == store.ceilings() == [newer]
    assert store.devices() == [DEVICE]


def test_each_device_has_its_own(store: Store) -> None:
    other = replace(FOUND, device=nominal("sm80"), measured_at=NOON - timedelta(hours=1))
    capped = replace(FOUND, device=replace(DEVICE, power_limit_w=300), measured_at=NOON - timedelta(hours=2))
    store.add_all([], [], [capped, other, FOUND])
    assert store.ceilings() == [FOUND, other, capped]
    assert store.ceilings(DEVICE.name) == [FOUND, capped]
    assert store.ceilings("nobody") == []


@given(found=ceilings)
def test_what_is_kept_comes_back(found: Ceilings) -> None:
    with open_store("memory://") as kept:
        kept.add_ceilings(found)
        assert kept.ceilings() == [found]


@given(found=st.lists(ceilings, max_size=3, unique_by=lambda one: one.device))
def test_a_pack_holds_them(found: list[Ceilings]) -> None:
    written = write_pack(Pack((), (), tuple(found)))
    read = read_pack(written.encode(), "pack.json")
    assert set(read.ceilings) == set(found)
    assert write_pack(read) == written


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("bf16_tflops", "-1", "number from 0"),
        ("bf16_tflops", "0", "a rate is above 0"),
        ("copy_gbs", "null", "every device copies memory"),
        ("copy_gbs", "1e300", "number from 0"),
        ("measured_at", '"2026-01-31T12:00:00"', "needs its time zone"),
    ],
)
def test_a_pack_with_an_impossible_rate_is_refused(name: str, value: str, message: str) -> None:
    lines = write_pack(Pack((), (), (FOUND,)))
    before = {"bf16_tflops": "790.0", "copy_gbs": "4300.0", "measured_at": '"2026-01-31T12:00:00.000000Z"'}[name]
    with pytest.raises(DocumentError, match=message):
        read_pack(lines.replace(f'"{name}":{before}', f'"{name}":{value}').encode(), "pack.json")


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_rate_is_not_kept(memory: Store, rate: float) -> None:
    with pytest.raises(ValueError, match="a rate is above 0"):
        memory.add_ceilings(replace(FOUND, fp32_tflops=rate))
    assert memory.ceilings() == []


def test_a_ranked_result_says_how_near_it_is_to_the_roofline(memory: Store) -> None:
    memory.add(measured(tiled(128), 30.0))
    (before,) = ranking(memory, PROBLEM, DEVICE.name, count=1)
    assert before.roofline_us is before.of_roofline is None
    memory.add_ceilings(FOUND)
    (after,) = ranking(memory, PROBLEM, DEVICE.name, count=1)
    assert after.roofline_us == pytest.approx(PROBLEM.flops / 790e6)
    assert after.of_roofline == pytest.approx(PROBLEM.flops / 790e6 / 30.0)


def test_one_protocol_is_seen_alone(store: Store) -> None:
    store.add_all(
        [measured(tiled(1), 10.0, protocol="burst/1"), measured(tiled(1), 12.0, protocol="sustained/1")],
        [race({CUBLAS: (9.0,), tiled(1): (10.0,)}, protocol="burst/1")],
    )
    sustained = store.by_protocol("sustained/1")
    (found,) = ranking(sustained, PROBLEM, DEVICE.name, count=2)
    assert (found.protocol, found.median_us, found.raced) == ("sustained/1", 12.0, False)
    assert sustained.races(PROBLEM) == []
    assert [one.protocol for one in ranking(store, PROBLEM, DEVICE.name, count=3)] == ["burst/1", "burst/1"]
