"""The process learns what a space is like, and the sampler goes where that says."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from tilewright.kernels.config import Config
from tilewright.kernels.space import Axis, ConfigSpace
from tilewright.tuner.landscape import Landscape
from tilewright.tuner.search import Search
from tilewright.tuner.search.gp import GPSampler, expected_improvement
from tilewright.tuner.search.history import History
from tilewright.tuner.search.points import Points
from tilewright.tuner.search.process import Features, Hyper, Process, _Posterior, fitted, kernel
from tilewright.tuner.search.replay import ReplayOptions, run

from .spaces import bowl, bowl_landscape, bowl_us


def _setting(features: Features) -> Hyper:
    """A length scale of 0.4 on every axis, and something for each that differs."""
    return Hyper((*[6.25] * (features.count - 1), 0.6), noise=1e-4, trend=0.0)


def test_the_process_passes_through_its_trials_and_doubts_what_is_far() -> None:
    points = Points(bowl())
    tried = np.arange(0, 400, 7)
    values = np.sin(tried / 50)
    features = Features(points)
    process = Process(features, tried, values, _setting(features))
    mean, deviation = process.predict(tried)
    assert mean == pytest.approx(values, abs=0.02)
    _, elsewhere = process.predict(np.arange(900, 1000))
    assert deviation.max() < elsewhere.min()


def test_another_family_is_farther_than_any_step_on_an_axis() -> None:
    points = Points(bowl())
    shared = {"m": 64, "n": 64, "warps": 4}
    one, near, other = (
        points.index(config)
        for config in (
            Config.of("plain", shared, order="row"),
            Config.of("plain", shared, order="row").replace(m=128),
            Config.of("split", shared, split=1),
        )
    )
    features = Features(points)
    like = kernel(features, np.array([one]), np.array([near, other]), _setting(features))
    assert like[0, 0] > like[0, 1] > 0


def test_the_likeliest_setting_tells_smooth_from_rough() -> None:
    points = Points(bowl())
    draws = np.random.default_rng(0)
    tried = draws.choice(len(points), 80, replace=False)
    smooth = points.levels[tried, 1] / 5.0 + points.levels[tried, 2] / 5.0
    easy, hard = (
        fitted(Features(points), tried, (values - values.mean()) / values.std())
        for values in (smooth, draws.normal(size=80))
    )
    assert easy.noise < hard.noise
    assert easy.log_posterior > hard.log_posterior


def test_the_axis_that_matters_weighs_most() -> None:
    points = Points(bowl())
    tried = np.random.default_rng(0).choice(len(points), 60, replace=False)
    values = np.sin(points.levels[tried, 1])  # of the axis m alone
    *weights, hamming = fitted(Features(points), tried, values - values.mean()).weights
    assert weights[1] >= 10 * max(weights[2:])
    assert hamming < weights[1]


def test_what_an_axis_does_everywhere_is_told_where_nothing_near_was_tried() -> None:
    """Of two axes, from the trials at one end of either what is at the other ends of both; doubted, but not unknown."""
    space = ConfigSpace(
        (Axis("m", tuple(range(9))), Axis("n", tuple(range(9)))),
        [Config.of("plain", m=m, n=n) for m in range(9) for n in range(9)],
    )
    points = Points(space)
    slowness = points.levels[:, 1:].sum(1) / 8.0 - 1
    tried = np.flatnonzero((points.levels[:, 1] < 3) | (points.levels[:, 2] < 3))
    features = Features(points)
    process = Process(features, tried, slowness[tried], fitted(features, tried, slowness[tried], surface=True))
    corner = np.array([points.index(Config.of("plain", m=8, n=8))])
    mean, deviation = process.predict(corner)
    assert mean[0] == pytest.approx(slowness[corner][0], abs=0.1)
    assert deviation[0] > process.predict(tried)[1].max()


def test_the_parts_of_a_distance_are_its_whole() -> None:
    features = Features(Points(bowl()))
    tried = np.arange(0, 1000, 40)
    weights = tuple(np.random.default_rng(0).uniform(0.1, 2, features.count).tolist())
    whole = np.tensordot(weights, features.parts(tried), 1)
    assert features.apart(tried, tried, weights) == pytest.approx(whole, abs=1e-9)


@pytest.mark.parametrize("surface", [False, True])
def test_the_gradient_is_that_of_the_posterior(surface: bool) -> None:
    points = Points(bowl())
    draws = np.random.default_rng(0)
    tried = draws.choice(len(points), 30, replace=False)
    posterior = _Posterior(Features(points), tried, draws.normal(size=30), surface)
    place = posterior.means + draws.normal(size=len(posterior.means))
    steps = 1e-5 * np.eye(len(place))
    slopes = [(posterior(place + step)[0] - posterior(place - step)[0]) / 2e-5 for step in steps]
    assert posterior(place)[1] == pytest.approx(slopes, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("values", "near", "far"),
    [
        ((32, 64, 96, 128, 160), (96, 160), (96, 128)),  # two steps, but each an odd multiple of 32
        ((16, 32, 64, 128, 256), (16, 32), (16, 64)),  # powers of two: their place says it all
        ((0, 1, 2, 3, 4), (1, 3), (1, 4)),
    ],
)
def test_numbers_are_alike_by_place_and_by_what_divides_them(
    values: tuple[int, ...], near: tuple[int, int], far: tuple[int, int]
) -> None:
    space = ConfigSpace((Axis("threads", values),), [Config.of("plain", threads=value) for value in values])
    features = Features(Points(space))
    apart = features.parts(np.arange(len(values)))[1]
    assert apart[values.index(near[0]), values.index(near[1])] < apart[values.index(far[0]), values.index(far[1])]


def test_expected_improvement_is_that_of_many_draws() -> None:
    mean, deviation = np.array([-1.0, 0.0, 0.5]), np.array([0.1, 1.0, 2.0])
    draws = np.random.default_rng(0).normal(mean, deviation, size=(200_000, 3))
    expected = np.maximum(0.2 - draws, 0).mean(0)
    assert expected_improvement(0.2, mean, deviation) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("batch", [1, 4])
def test_it_finds_the_best_of_1008_in_50_evaluations(batch: int) -> None:
    best = min(time_us for config in bowl() if (time_us := bowl_us(config)))
    found = []
    for seed in range(5):
        search = Search(bowl(), sampler="gp", seed=seed)
        times: list[float] = []
        for _ in range(48 // batch):
            asked = [config for _ in range(batch) if (config := search.ask()) is not None]
            for config in asked:
                time_us = bowl_us(config)
                search.tell(config, time_us)
                times += [time_us] if time_us else []
        found.append(best / min(times))
    assert statistics.median(found) == 1.0


def test_it_learns_to_avoid_what_fails() -> None:
    landscape: Landscape = bowl_landscape()
    failing = {
        sampler: sum(run(landscape, sampler, seed, ReplayOptions(60)).failing for seed in range(24))
        for sampler in ("gp", "random")
    }
    assert failing["gp"] < 0.8 * failing["random"]


def test_beside_a_best_whose_neighbours_are_tried_comes_the_next_best() -> None:
    m, n = (Axis(name, (1, 2, 4, 8, 16, 32)) for name in ("m", "n"))
    points = Points(ConfigSpace((m, n), [Config.of("plain", m=a, n=b) for a in m.values for b in n.values]))
    best, beside_best, next_best, failed = 0, [1, 6], 35, 14  # of a grid of 6 x 6, numbered by rows
    history = History(points)
    history.tried, history.log_us = [failed, next_best, best], [np.inf, 1.0, 0.0]
    history.open[history.tried] = False
    sampler = GPSampler(points)
    assert sorted(sampler._beside_best(history)) == beside_best
    history.tried, history.log_us = [*history.tried, *beside_best], [*history.log_us, 3.0, 2.0]
    history.open[beside_best] = False
    assert sorted(sampler._beside_best(history)) == [29, 34]
    history.open[[29, 34, 2, 7, 12]] = False  # all that lies beside what was measured
    assert not len(sampler._beside_best(history))  # nothing is sought beside a failure


def test_a_long_history_is_thinned_out() -> None:
    space = list(bowl())
    search = Search(bowl(), sampler="gp")
    search.refill([(config, bowl_us(config)) for config in space[:700]])
    assert search.ask() in space[700:]
