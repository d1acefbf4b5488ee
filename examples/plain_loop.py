"""A federation as a plain loop over the steps of an algorithm on named NumPy arrays.

    .venv/bin/python examples/plain_loop.py configs/quickstart.toml

To carry messages by a transport of your own, put a send and a receive into this loop. All arithmetic is in Rust.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray

import effgan

Arrays = dict[str, NDArray[np.float32]]


def run(config: str, settings: dict[str, Any] | None = None) -> tuple[Arrays, dict[str, Arrays]]:
    """Trains from the file ``config``; returns the server's arrays, and the collected generators by client."""
    sites = effgan.deal(config, settings=settings)
    images, labels = next(iter(sites.values()))
    steps = effgan.Steps(
        config,
        {name: len(labels) for name, (_, labels) in sites.items()},
        image_shape=images.shape[1:],
        num_classes=1 + max(int(labels.max()) for _, labels in sites.values()),
        settings=settings,
    )
    state, members = steps.init(), {}
    memories: dict[str, Arrays] = {name: {} for name in sites}
    while (exchange := steps.next(state)) is not None:
        state = steps.prepare(state, exchange)
        updates = {}
        for name in exchange.cohort:
            broadcast = steps.broadcast(state, exchange, name)  # to the site …
            updates[name], memories[name] = steps.local_update(broadcast, name, *sites[name], memories[name])  # … and back
        state, collected = steps.aggregate(state, exchange, updates)
        members.update({name: arrays for name, _, arrays in collected})
        print(f"{exchange.kind} {exchange.round}: {said(updates)}")
    return state.arrays, members


def said(updates: dict[str, effgan.Update]) -> str:
    losses = [update.metrics["loss_g"] for update in updates.values() if "loss_g" in update.metrics]
    return f"{len(updates)} clients, generator's loss {np.mean(losses):.3f}" if losses else f"{len(updates)} clients"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    arrays, members = run(parser.parse_args().config)
    print(f"{sum(array.size for array in arrays.values()):,} values at the server, {len(members)} members")


if __name__ == "__main__":
    main()
