"""The exact joint against Algorithm 1: what each leaves of the target's variance, and how long it
takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor

from experiments.grafting.stages import Stage
from lib.graft import JointTraining, graft, graft_fresh, graft_trained, matching_loss
from lib.nets import Chain


@dataclass(frozen=True, eq=False)
class Joints:
    """Joints of one pair at several layers.

    Args:
        layers: (K,);  rates: of Adam (R,).
        exact, fresh: matching loss over the variance of the target, (K,);  adam: (K, R).
        seconds: of the exact joint and of Algorithm 1, mean over the rates, (K, 2).
    """

    layers: tuple[int, ...]
    rates: tuple[float, ...]
    exact: np.ndarray
    adam: np.ndarray
    fresh: np.ndarray
    seconds: np.ndarray


def compare_joints(
    pair: tuple[Chain, Chain],
    layers: Sequence[int],
    images: Tensor,
    rates: Sequence[float],
    *,
    batch: int,
    steps: int,
    seed: int,
    stage: Stage,
) -> Joints:
    """Match the joint at several layers exactly, by Algorithm 1 at several rates, and not at all.

    Args:
        pair: (net 1, net 2);  images: on which joints are matched.
        batch, steps: of Algorithm 1, which takes six epochs of so many minibatches.
    """
    steps = min(steps, len(images) // batch)
    settings = [JointTraining(lr=r, batch=batch, steps=steps, pad=None) for r in rates]
    graft(*pair, images[:64], 1)  # whatever happens only once is not timed
    rows = [
        stage.once(f"rival-{l}", partial(_both_ways, pair, l, images, settings, seed))
        for l in layers
    ]
    shares = np.array([row["shares"] for row in rows])
    seconds = np.array([row["seconds"] for row in rows])
    exact, adam, fresh = shares[:, 0], shares[:, 1:-1], shares[:, -1]
    return Joints(tuple(layers), tuple(rates), exact, adam, fresh, seconds)


def _both_ways(
    pair, layer: int, images: Tensor, settings: Sequence[JointTraining], seed: int
) -> dict:
    exact, seconds = _timed(partial(graft, *pair, images, layer))
    shares, spent = [matching_loss(exact, pair[1], images) / exact.solution.variance], []
    for how in settings:
        adam, took = _timed(partial(graft_trained, *pair, images, layer, how, generator=seed))
        shares.append(adam.relative)
        spent.append(took)
    fresh = graft_fresh(*pair, images, layer, generator=seed)
    return {"shares": [*shares, fresh.relative], "seconds": [seconds, float(np.mean(spent))]}


def _timed(function: Callable):
    start = time.perf_counter()
    return function(), time.perf_counter() - start
