"""Flower's strategies round by round, compared with their papers' formulas in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import effgan
from effgan.flower.strategy import Arrays, aggregate

pytestmark = pytest.mark.usefixtures("inside_of_a_server_app")

ROUNDS = 3


def replies_of(round_: int, current: Arrays) -> list[tuple[int, Arrays]]:
    """Four clients with 10, 20, 30 and 40 images; one of them sends an outlier."""
    rng = np.random.default_rng(round_)
    away = [0.1, 0.1, 5.0, 0.1]
    moved = [{name: (a + s * rng.normal(size=a.shape)).astype(np.float32) for name, a in current.items()} for s in away]
    return list(zip((10, 20, 30, 40), moved, strict=True))


def first() -> Arrays:
    rng = np.random.default_rng(0)
    return {"generator.w": rng.normal(size=(3, 2)).astype(np.float32), "generator.b": rng.normal(size=4).astype(np.float32)}


def by_flower(name: str, settings: dict[str, Any]) -> tuple[Arrays, Arrays]:
    current = first()
    memory: Arrays = {}
    for round_ in range(1, ROUNDS + 1):
        current, memory = aggregate(name, settings, round_, current, replies_of(round_, current), memory)
    return current, memory


def mean(replies: list[tuple[int, Arrays]], name: str) -> Any:
    return sum(n / 100 * arrays[name].astype(np.float64) for n, arrays in replies)


def test_fed_adam_is_adam_on_the_mean_update() -> None:
    eta, beta_1, beta_2, tau = 0.05, 0.9, 0.99, 1e-3
    current = first()
    m = {name: np.zeros(a.shape) for name, a in current.items()}
    v = {name: np.zeros(a.shape) for name, a in current.items()}
    for round_ in range(1, ROUNDS + 1):
        replies = replies_of(round_, current)
        # Reddi et al. 2021, Algorithm 2, with Kingma and Ba's correction of the learning rate, as Flower implements it.
        step = eta * np.sqrt(1 - beta_2 ** (round_ + 1)) / (1 - beta_1 ** (round_ + 1))
        for name, x in current.items():
            delta = mean(replies, name) - x
            m[name] = beta_1 * m[name] + (1 - beta_1) * delta
            v[name] = beta_2 * v[name] + (1 - beta_2) * delta**2
            current[name] = (x + step * m[name] / (np.sqrt(v[name]) + tau)).astype(np.float32)
    ours, memory = by_flower("FedAdam", {"eta": eta, "beta_1": beta_1, "beta_2": beta_2, "tau": tau})
    assert set(memory) == {f"{kind}/dict/{name}" for kind in ("m_t", "v_t") for name in current}
    # Flower's means are in float32, ours in float64.
    assert all(np.allclose(ours[name], current[name], rtol=1e-4, atol=1e-5) for name in current)


def test_fed_median_is_the_median_of_each_value() -> None:
    current = first()
    for round_ in range(1, ROUNDS + 1):
        stacked = [arrays for _, arrays in replies_of(round_, current)]
        current = {name: np.median([one[name] for one in stacked], axis=0).astype(np.float32) for name in current}
    ours, memory = by_flower("FedMedian", {})
    assert memory == {}
    assert all(np.array_equal(ours[name], current[name]) for name in current)


def test_krum_takes_the_reply_that_lies_nearest_to_the_others() -> None:
    current = first()
    replies = replies_of(1, current)
    flat = [np.concatenate([arrays[name].ravel() for name in current]) for _, arrays in replies]
    distances = np.array([[np.sum((a - b) ** 2) for b in flat] for a in flat])
    # Blanchard et al. 2017: the sum over the n − f − 2 nearest others.
    score = [np.sort(row)[1:][: len(flat) - 1 - 2].sum() for row in distances]
    chosen = replies[int(np.argmin(score))][1]
    ours, _ = aggregate("Krum", {"num_malicious_nodes": 1}, 1, current, replies, {})
    assert all(np.array_equal(ours[name], chosen[name]) for name in current)


@pytest.mark.parametrize("name", ["FedAvg", "FedAvgM", "FedYogi", "FedAdagrad", "MultiKrum", "FedTrimmedAvg", "Bulyan"])
def test_every_other_strategy_makes_something_finite_of_the_right_shapes(name: str) -> None:
    ours, _ = by_flower(name, {})
    assert {key: a.shape for key, a in ours.items()} == {key: a.shape for key, a in first().items()}
    assert all(a.dtype == np.float32 and np.isfinite(a).all() for a in ours.values())
    assert not np.array_equal(ours["generator.b"], first()["generator.b"])


def test_momentum_lasts_from_round_to_round() -> None:
    settings = {"server_momentum": 0.9, "server_learning_rate": 0.5}
    current, velocity = first(), None
    for round_ in range(1, ROUNDS + 1):
        replies = replies_of(round_, current)
        gradient = {name: current[name] - mean(replies, name) for name in current}
        velocity = gradient if velocity is None else {n: 0.9 * velocity[n] + gradient[n] for n in gradient}
        current = {name: (current[name] - 0.5 * velocity[name]).astype(np.float32) for name in current}
    ours, memory = by_flower("FedAvgM", settings)
    assert len(memory) == 2
    assert all(np.allclose(ours[name], current[name], rtol=1e-4, atol=1e-5) for name in current)


def test_a_strategy_that_is_none_and_a_setting_that_it_has_not_are_named() -> None:
    with pytest.raises(effgan.UsageError, match=r"federation.strategy.name = 'FedNova' is not one of Flower's: .*FedAdam"):
        aggregate("FedNova", {}, 1, first(), replies_of(1, first()), {})
    with pytest.raises(effgan.UsageError, match=r"federation.strategy: FedAdam: .*unexpected keyword argument 'etta'"):
        aggregate("FedAdam", {"etta": 1}, 1, first(), replies_of(1, first()), {})
