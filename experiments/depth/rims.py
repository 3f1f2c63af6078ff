"""Lifted minima at the rim of their manifold: how the risk falls past an exit, and where descent
goes from it (claims B6 and B6-exit)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from experiments.depth.escape import open_exit
from experiments.depth.planted import gaussian, lifted_minimum
from lib.curvature import hessian, inertia
from lib.depth import exits, slide
from lib.nets import MLP, Activation, flatten, risk, stack, unflatten
from lib.nets.activations import get
from lib.train.descent import Trajectory, descend

LAYER, NEURON = 2, 0  # the inserted layer, and the neuron whose rim is opened
INSIDE, OUTSIDE = 1e-3, -1e-2  # distances from the rim at which descent starts


@dataclass(frozen=True, eq=False)
class Rim:
    """A lifted minimum whose first inserted neuron was given an exit.

    Args:
        activation: its name;  order: of the fall past the exit, 2 for ELU, 1 else.
        rate: predicted fall of the risk over distance^order, negative.
        falls: change of the risk at the distances asked for.
        descends: of every rim of the random lift, before one was opened.
        level_gap: largest change of the risk on the path that opens the exit.
        negative: negative eigenvalues just inside;  clear: whether the spectrum has a gap there.
        around: least change of the risk at random points around it.
        edge, outside: the nets just inside and just outside;  x, y: data;  base: the risk inside.
    """

    activation: str
    order: int
    rate: float
    falls: tuple[float, ...]
    descends: tuple[bool, ...]
    level_gap: float
    negative: int
    clear: bool
    around: float
    edge: MLP
    outside: MLP
    x: Tensor
    y: Tensor
    base: float

    def ratio(self, distances: Sequence[float]) -> float:
        """Measured over predicted fall at the nearest of the distances."""
        return self.falls[0] / (self.rate * distances[0] ** self.order)


def open_rim(
    sigma: str | Activation, distances: Sequence[float], generator: torch.Generator
) -> Rim:
    """Lift a minimum, open an exit along a level path, and measure the risk inside and past it.

    >>> rim = open_rim("relu", (1e-5,), torch.Generator().manual_seed(0))
    >>> rim.order, round(rim.ratio((1e-5,)), 2), rim.negative
    (1, 1.0, 0)
    """
    point = lifted_minimum(sigma, generator)
    deep, x, y = point.deep, point.shallow.x, point.shallow.y
    opened = open_exit(deep, x, y, LAYER, NEURON, pull=1.0)
    base, out = risk(deep, x, y), exits(opened, x, y, LAYER)
    edge = slide(opened, x, LAYER, NEURON, INSIDE)
    spectrum = inertia(hessian(edge, x, y), require=False)
    near = unflatten(flatten(edge) + 1e-6 * gaussian(generator, 2000, edge.n_parameters), edge)
    order = 2 if sigma == "elu" else 1
    return Rim(
        str(get(sigma)),
        order,
        float(out.second[NEURON] / 2 if order == 2 else out.first[NEURON]),
        tuple(float(risk(slide(opened, x, LAYER, NEURON, -d), x, y) - base) for d in distances),
        tuple(exits(deep, x, y, LAYER).descends.tolist()),
        _level_gap(deep, opened, x, y, base),
        spectrum.counts[0],
        bool(spectrum.clear),
        float((risk(near, x, y) - base).min()),
        edge,
        slide(opened, x, LAYER, NEURON, OUTSIDE),
        x,
        y,
        float(base),
    )


def _level_gap(deep: MLP, opened: MLP, x: Tensor, y: Tensor, base: Tensor) -> float:
    a, b = flatten(deep), flatten(opened)
    on_path = [risk(unflatten((1 - s) * a + s * b, deep), x, y) for s in (0.25, 0.5, 0.75)]
    return float((torch.stack(on_path) - base).abs().max())


def depart(rim: Rim, epochs: int) -> Trajectory:
    """Gradient descent from just inside and just outside, at a rate well below 2 / largest
    eigenvalue: a batch of two nets."""
    lr = 0.5 / float(torch.linalg.eigvalsh(hessian(rim.edge, rim.x, rim.y))[-1])
    both = stack([rim.edge, rim.outside])
    return descend(both, rim.x, rim.y, steps=epochs, lr=lr, records=60, keep_smallest=False)


def through(rim: Rim, positions: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """On the straight way through an exit (inside for negative positions): relative change of the
    risk, and the smallest eigenvalue of the Hessian."""
    nets = [slide(rim.edge, rim.x, LAYER, NEURON, -d) for d in positions]
    risks = [(float(risk(net, rim.x, rim.y)) - rim.base) / rim.base for net in nets]
    smallest = [float(torch.linalg.eigvalsh(hessian(net, rim.x, rim.y))[0]) for net in nets]
    return np.array(risks), np.array(smallest)
