"""The steps of the contract in a plain loop, compared with the runs that Rust drives."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY, TINY
from numpy.typing import NDArray

import effgan

sys.path.insert(0, str(REPOSITORY / "examples"))
import plain_loop  # noqa: E402

ALGORITHMS: dict[str, dict[str, Any]] = {
    "effgan": {},
    "md-gan": {"algorithm": {"kind": "md-gan", "rounds": 2}, "local.epochs": 1},
}


def tensors(file: Path) -> dict[str, NDArray[np.float32]]:
    """The tensors of a safetensors file, all f32."""
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(body[slice(*about["data_offsets"])], np.float32).reshape(about["shape"])
        for name, about in header.items()
    }


def assert_equal(ours: dict[str, NDArray[np.float32]], theirs: dict[str, NDArray[np.float32]]) -> None:
    assert ours.keys() == theirs.keys() and ours
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_plain_loop_comes_to_the_bits_of_a_run(algorithm: str, tmp_path: Path) -> None:
    settings = ALGORITHMS[algorithm]
    run = effgan.run(TINY, out=tmp_path / "run", settings=settings)
    arrays, members = plain_loop.run(str(TINY), settings)
    generator = {name.removeprefix("generator."): a for name, a in arrays.items() if name.startswith("generator.")}
    assert_equal(generator, tensors(run.path / "join/generator.safetensors"))
    assert list(members) == run.model.members
    for name, generator in members.items():
        assert_equal(generator, tensors(run.path / f"model/members/{name}.safetensors"))


def test_messages_and_states_are_rebuilt_from_what_a_transport_carries() -> None:
    sites = effgan.deal(TINY)
    clients = {name: len(labels) for name, (_, labels) in sites.items()}
    steps = effgan.Steps(TINY, clients, image_shape=(1, 28, 28), num_classes=10)
    state = steps.init()
    exchange = steps.next(state)
    assert exchange is not None and (exchange.kind, exchange.round) == ("average", 1)
    name = exchange.cohort[0]
    sent = steps.broadcast(state, exchange, name)
    received = effgan.Broadcast(sent.round, sent.kind, sent.iteration, sent.iterations, sent.arrays)
    update, memory = steps.local_update(received, name, *sites[name])
    assert (update.num_examples, memory) == (clients[name], {})
    again, _ = steps.local_update(sent, name, *sites[name])
    assert_equal(update.arrays, again.arrays)
    kept = effgan.State(state.round, state.exchanges, state.arrays)
    assert_equal(kept.arrays, state.arrays)


def test_an_update_that_cannot_be_used_names_its_client() -> None:
    steps = effgan.Steps(TINY, {"a": 40, "b": 40}, image_shape=(1, 28, 28), num_classes=10)
    state = steps.init()
    exchange = steps.next(state)
    assert exchange is not None
    good = effgan.Update(state.arrays, 40, {})
    bad = effgan.Update({name: np.full_like(a, np.nan) for name, a in state.arrays.items()}, 40, {})
    with pytest.raises(effgan.RunFailed, match=r"client b sent an unusable reply in round 1: tensor .* non-finite"):
        steps.aggregate(state, exchange, {"b": bad, "a": good})
    with pytest.raises(effgan.RunFailed, match=r"client c failed in round 1: was not in the cohort"):
        steps.aggregate(state, exchange, {"a": good, "b": good, "c": good})
    with pytest.raises(effgan.UsageError, match=r"arrays\['w'\] is not a NumPy array of float32|arrays\[\"w\"\]"):
        effgan.Update({"w": np.zeros(3)}, 1, {})  # type: ignore[dict-item]


def test_clients_are_checked_with_the_config() -> None:
    with pytest.raises(effgan.UsageError, match="trim"):
        effgan.Steps(
            TINY,
            {"a": 40, "b": 40},
            image_shape=(1, 28, 28),
            num_classes=10,
            settings={"aggregation": {"kind": "trimmed-mean", "trim": 1}},
        )
