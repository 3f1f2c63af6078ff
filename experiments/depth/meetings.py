"""What deep nets meet on their plateaus: critical functions of shallower nets, and linearised
layers (claims B8 and B8-layers)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from experiments.depth.planted import gradient_norm
from experiments.depth.training import plateaus
from lib.critical import polish
from lib.depth import layer_affine_error, layer_on_data
from lib.nets import MLP, forward, risk
from lib.train.descent import Trajectory

SAME = 1e-6  # two functions are the same within this share of the spread of the targets
AFFINE = 0.01  # a layer counts as affine up to this share of its variance
TOLERANCE = 1e-11  # L1 norm of the gradient of an exact critical point


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Critical functions known so far: outputs (K, n, m_L) and losses (K,) on the data; `spread`
    of the targets."""

    outputs: Tensor
    losses: Tensor
    spread: float

    def nearest(self, output: Tensor) -> tuple[float, float]:
        """Distance to the nearest function, relative to the spread, and that function's loss."""
        gaps = (output - self.outputs).square().mean((-2, -1)).sqrt() / self.spread
        return float(gaps.min()), float(self.losses[gaps.argmin()])

    def with_more(self, outputs: Tensor, losses: Tensor) -> Catalogue:
        """These functions added."""
        return Catalogue(
            torch.cat([self.outputs, outputs]), torch.cat([self.losses, losses]), self.spread
        )


def catalogue(result: Trajectory, count: int, x: Tensor, y: Tensor) -> Catalogue:
    """Exact critical functions of the shallowest nets, from the plateaus of the first of them."""
    found = polish(plateaus(result, count).net, x, y, tolerance=TOLERANCE, max_steps=150).found
    spread = float((y - y.mean(0)).square().mean().sqrt())
    return Catalogue(forward(found.net, x), found.loss, spread)


@dataclass(frozen=True)
class OnTheWay:
    """The iterate of least gradient on a plateau: distance to the nearest critical function of
    shallower nets and that one's loss; whether all layers from the second on are affine."""

    hidden: int
    loss: float
    distance: float
    nearest_loss: float
    linear: bool


@dataclass(frozen=True)
class Polished:
    """A plateau polished to an exact critical point.

    Args:
        hidden, loss: of the net;  distance, nearest_loss: to the nearest critical function of
            shallower nets, and that one's loss.
        layers: how many hidden layers from the second on are exactly linearised, constant neurons
            included.
        net: which of the batch;  constant: the output is the same for all samples.
        null: distance to the nearest critical function of a catalogue of other targets.
    """

    hidden: int
    loss: float
    distance: float
    nearest_loss: float
    layers: int
    net: int
    constant: bool
    null: float


@dataclass(frozen=True)
class Merged:
    """The net without its exactly linearised layers.

    Args:
        loss: before;  regular: every merging derivative is onto, so that the net is a regular lift.
        gradient: Euclidean norm afterwards;  gap: change of the loss.
    """

    loss: float
    regular: bool
    gradient: float
    gap: float


@dataclass(frozen=True, eq=False)
class Meetings:
    """All plateaus of deep nets, as met in training, polished, and merged."""

    on_the_way: list[OnTheWay]
    polished: list[Polished]
    merged: list[Merged]


def meetings(
    runs: Mapping[int, Trajectory],
    known: Catalogue,
    other: Catalogue,
    count: int,
    x: Tensor,
    y: Tensor,
) -> Meetings:
    """Compare the plateaus of nets of growing depth with the critical functions of all shallower
    ones.

    Args:
        runs: number of hidden layers -> descent, all deeper than the catalogue's, in order.
        known: critical functions of the shallowest nets;  other: of other targets, as a null.
        count: nets of each depth.
    """
    found = Meetings([], [], [])
    for hidden, result in runs.items():
        met = plateaus(result, count)
        linear = (layer_affine_error(met.net, x)[:, 1:] < AFFINE).all(-1)
        for i in range(len(met.index)):
            nearest = known.nearest(forward(met.net[i], x))
            row = OnTheWay(hidden, float(met.loss[i]), *nearest, bool(linear[i]))
            found.on_the_way.append(row)
        deep = polish(met.net, x, y, tolerance=TOLERANCE, max_steps=60)
        for i in deep.converged.nonzero().flatten().tolist():
            net, loss, owner = deep.net[i], float(deep.loss[i]), int(met.index[i])
            layers = linearised_layers(net, x)
            output = forward(net, x)
            nearest, null = known.nearest(output), other.nearest(output)[0]
            constant = bool((output - output[0]).abs().max() < SAME * known.spread)
            point = Polished(hidden, loss, *nearest, len(layers), owner, constant, null)
            found.polished.append(point)
            if layers:
                found.merged.append(_merged(net, layers, x, y, loss))
        known = known.with_more(forward(deep.found.net, x), deep.found.loss)
    return found


def linearised_layers(net: MLP, x: Tensor) -> list[int]:
    """The hidden layers from the second on whose neurons each stay in one affine piece or are
    constant on the data."""
    layers = range(2, net.depth)
    return [k for k in layers if layer_on_data(net, x, k, flat=True).is_linearised]


def _merged(net: MLP, layers: list[int], x: Tensor, y: Tensor, loss: float) -> Merged:
    regular = True
    for layer in reversed(layers):
        on = layer_on_data(net, x, layer, flat=True)
        regular &= on.is_regular
        net = on.merged()
    gap = abs(float(risk(net, x, y)) - loss)
    return Merged(loss, regular, gradient_norm(net, x, y), gap)


def as_rows(trials: list[OnTheWay] | list[Polished] | list[Merged], *names: str) -> np.ndarray:
    """The named attributes as a table, one row for each trial."""
    return np.array([[getattr(t, name) for name in names] for t in trials], dtype=float).reshape(
        -1, len(names)
    )
