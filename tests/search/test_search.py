"""What every sampler keeps: only what is valid, each once, the same again by seed, and nothing twice when resumed."""

from __future__ import annotations

import logging
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.kernels.config import Config
from tilewright.kernels.space import ConfigSpace, Space
from tilewright.tuner.search import SAMPLERS, Search

from .spaces import bowl, bowl_us, spaces

every_sampler = pytest.mark.parametrize("sampler", SAMPLERS)
LIVES = settings(max_examples=20, deadline=None)


def _time(config: Config) -> float | None:
    """Any time, a failure for one in four; the same for the same config."""
    draw = random.Random(str(config)).random()
    return None if draw < 0.25 else draw


def _run(search: Search, count: int) -> list[tuple[Config, float | None]]:
    found = []
    for _ in range(count):
        config = search.ask()
        assert config is not None
        found.append((config, bowl_us(config)))
        search.tell(*found[-1])
    return found


@every_sampler
@LIVES
@given(space=spaces(), seed=st.integers(0, 2**32 - 1), draw=st.randoms(use_true_random=False))
def test_every_valid_config_is_asked_once(sampler: str, space: Space, seed: int, draw: random.Random) -> None:
    search = Search(space, sampler=sampler, seed=seed)
    asked: list[Config] = []
    pending: list[Config] = []
    while (config := search.ask()) is not None:
        asked.append(config)
        pending.append(config)
        while pending and draw.random() < 0.6:
            told = pending.pop(draw.randrange(len(pending)))
            search.tell(told, _time(told))
    assert sorted(asked) == sorted(space)
    assert len(search) == 0


@every_sampler
@LIVES
@given(space=spaces(), seed=st.integers(0, 2**32 - 1), draw=st.randoms(use_true_random=False))
def test_what_is_taken_back_is_asked_again(sampler: str, space: Space, seed: int, draw: random.Random) -> None:
    """At whatever moment, it is as if it had not been asked: all is told once in the end."""
    search = Search(space, sampler=sampler, seed=seed)
    told: list[Config] = []
    pending: list[Config] = []
    while (config := search.ask()) is not None:
        assert config not in (*pending, *told)
        pending.append(config)
        while pending and draw.random() < 0.6:
            taken = pending.pop(draw.randrange(len(pending)))
            if draw.random() < 0.3:
                search.withdraw(taken)
                assert len(search) == len(list(space)) - len(told) - len(pending)
                continue
            search.tell(taken, _time(taken))
            told.append(taken)
    assert sorted([*told, *pending]) == sorted(space)
    with pytest.raises(ValueError, match="is not under way: take back what was asked"):
        search.withdraw(told[0] if told else Config.of("tiled", nothing=1))


@every_sampler
@LIVES
@given(space=spaces(), seed=st.integers(0, 9), data=st.data())
def test_a_resumed_search_asks_nothing_twice(sampler: str, space: Space, seed: int, data: st.DataObject) -> None:
    search = Search(space, sampler=sampler, seed=seed)
    stop = data.draw(st.integers(0, len(space)))
    found = []
    for _ in range(stop):
        config = search.ask()
        assert config is not None
        found.append((config, _time(config)))
        search.tell(*found[-1])
    search.ask()  # asked, and never told before the end
    again = Search(space, sampler=sampler, seed=seed, first=[config for config, _ in found])
    again.refill([*found, *found, (Config.of("of another space"), 1.0)])
    rest = []
    while (config := again.ask()) is not None:
        rest.append(config)
        again.tell(config, _time(config))
    assert sorted([*(config for config, _ in found), *rest]) == sorted(space)


@LIVES
@given(space=spaces(), seed=st.integers(0, 9))
def test_a_space_too_large_to_look_at_whole_is_asked_to_its_end(space: Space, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tilewright.tuner.search.gp.CANDIDATES", 4)
        search = Search(space, sampler="gp", seed=seed)
        asked = []
        while (config := search.ask()) is not None:
            asked.append(config)
            search.tell(config, _time(config))
    assert sorted(asked) == sorted(space)


@every_sampler
def test_the_seed_decides(sampler: str) -> None:
    space = bowl()
    runs = [_run(Search(space, sampler=sampler, seed=seed), 25) for seed in (3, 3, 4)]
    assert runs[0] == runs[1]
    assert sampler == "exhaustive" or runs[0] != runs[2]


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "tpe"])  # TPE's state is in its generator
def test_a_resumed_search_goes_on_as_if_it_had_not_stopped(sampler: str) -> None:
    whole = _run(Search(bowl(), sampler=sampler, seed=1), 40)
    resumed = Search(bowl(), sampler=sampler, seed=1)
    resumed.refill(whole[:25])
    assert _run(resumed, 15) == whole[25:]


@every_sampler
def test_first_is_asked_first(sampler: str) -> None:
    space = bowl()
    wanted = [list(space)[place] for place in (700, 3, 3, 90)]
    search = Search(space, sampler=sampler, first=[Config.of("none"), *wanted])
    search.refill([(wanted[1], None)])
    assert [config for config, _ in _run(search, 2)] == [wanted[0], wanted[3]]
    _run(search, 5)


def test_the_best_of_a_prior_are_asked_after_first() -> None:
    space = list(bowl())
    prior = [(config, 900.0 - place) for place, config in enumerate(space[:20])]
    search = Search(bowl(), first=[space[500]], prior=[(Config.of("none"), 1.0), *prior])
    assert [config for config, _ in _run(search, 9)] == [space[500], *reversed(space[12:20])]


@every_sampler
def test_nothing_is_logged(sampler: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.DEBUG):
        _run(Search(bowl(), sampler=sampler), 12)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


@every_sampler
def test_a_search_of_failures_goes_on(sampler: str) -> None:
    search = Search(bowl(), sampler=sampler)
    for _ in range(15):
        config = search.ask()
        assert config is not None
        search.tell(config, None)


def test_a_time_may_be_told_unasked_but_once() -> None:
    search = Search(bowl())
    config = next(iter(bowl()))
    search.tell(config, 5.0)
    with pytest.raises(ValueError, match="told before"):
        search.tell(config, 5.0)
    with pytest.raises(ValueError, match="not in the space"):
        search.tell(Config.of("none"), 5.0)


@pytest.mark.parametrize("time_us", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(time_us: float) -> None:
    search = Search(bowl())
    config = search.ask()
    assert config is not None
    with pytest.raises(ValueError, match="a failure is None"):
        search.tell(config, time_us)
    search.tell(config, None)


def test_an_unknown_sampler_is_refused() -> None:
    with pytest.raises(ValueError, match=f"'best' is not known: use one of {', '.join(SAMPLERS)}"):
        Search(bowl(), sampler="best")


def test_an_empty_space_has_nothing_to_ask() -> None:
    assert Search(ConfigSpace((), [])).ask() is None


@every_sampler
def test_what_is_likely_is_open_and_what_comes_first_is_first(sampler: str) -> None:
    space = bowl()
    first = list(space)[5:9]
    search = Search(space, sampler=sampler, first=first)
    assert list(search.likely())[:4] == first
    tried = [config for config, _ in _run(search, 12)]
    assert not set(tried) & set(search.likely())


def test_what_the_process_holds_likely_is_what_it_asks_for() -> None:
    """What is not foreseen comes of what was told since, or of a neighbourhood of the best."""
    search = Search(bowl(), seed=3)
    foreseen = 0
    _run(search, 10)
    for _ in range(24):
        likely = [config for config, _ in zip(search.likely(), range(16), strict=False)]
        foreseen += _run(search, 1)[0][0] in likely
    assert foreseen >= 20
