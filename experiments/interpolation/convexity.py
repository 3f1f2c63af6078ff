"""Theorem 1 of Gu et al. (2020) tested: Jensen's inequality between random points, between the
weights of one net in two orders, and between two trained nets."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from experiments.convexity import random_point, segment, swapped_neurons
from lib.convex import convex_objective, from_net, union
from lib.nets import MLP, Chain, cross_entropy, init

SHAPES = ((7, 9, 2), (7, 9, 8, 2), (7, 9, 8, 10, 2))


@dataclass(frozen=True, eq=False)
class Segments:
    """Jensen's inequality along segments.

    Args:
        gammas: (P,);  slack: chord less curve, over the largest objective of the segment, (S, P).
        violation: the largest violation of the constraints on any of them.
    """

    gammas: np.ndarray
    slack: np.ndarray
    violation: float


def random_segments(generator: torch.Generator, each: int = 8) -> Segments:
    """Segments between two random feasible points of random nets with one to three hidden layers.

    Args:
        generator: of nets, data and points;  each: segments of every shape and activation, >= 1.
    Returns:
        The segments; six samples, two outputs, tanh and ReLU.

    >>> random_segments(torch.Generator().manual_seed(0), each=1).slack.shape
    (6, 11)
    """
    found = []
    for sigma in ("tanh", "relu"):
        for sizes in SHAPES:
            for _ in range(each):
                net = init(sizes, sigma, generator=generator)
                x, y = (
                    torch.randn(6, k, generator=generator, dtype=torch.float64)
                    for k in (sizes[0], sizes[-1])
                )
                space, _ = from_net(net, x)  # its neurons are the atoms
                ends = [random_point(space, 2, generator, noise=2.0) for _ in range(2)]
                found.append(segment(space, *ends, y, strength=[0.2] * (len(sizes) - 1)))
    slack = np.array([(s.slack / s.totals.abs().max()).numpy() for s in found])
    return Segments(found[0].gammas.numpy(), slack, max(s.violation for s in found))


@dataclass(frozen=True, eq=False)
class Swapped:
    """The objective between two nets that differ in the order of their neurons.

    Args:
        gammas: (P,);  weights: between their weights, (P,);  features: between their distributions
            of features, (P,).
    """

    gammas: np.ndarray
    weights: np.ndarray
    features: np.ndarray

    @property
    def barrier(self) -> float:
        """Height of the path in weight space above its ends."""
        return float(self.weights.max() - max(self.weights[0], self.weights[-1]))


def swapped_path(strength: tuple[float, float] = (0.01, 0.01), steps: int = 21) -> Swapped:
    """Both paths between `experiments.convexity.swapped_neurons`.

    >>> swapped_path(steps=3).features.round(6).tolist()
    [0.05, 0.05, 0.05]
    """
    first, second, x, y = swapped_neurons()
    space, p, q = union(from_net(first, x), from_net(second, x))
    between = segment(space, p, q, y, strength=strength, steps=steps)
    straight = []
    for gamma in between.gammas.tolist():
        pairs = zip(first.weights, second.weights, strict=True)
        net = MLP([gamma * a + (1 - gamma) * b for a, b in pairs], activation="relu")
        straight.append(convex_objective(*from_net(net, x), y, strength=strength).total)
    return Swapped(between.gammas.numpy(), np.array(straight), between.totals.numpy())


@dataclass(frozen=True, eq=False)
class Ensemble:
    """The mixture of Theorem 1 between two nets without common features.

    Args:
        gammas: (P,), the share of the first net;  cross_entropy: of the averaged outputs, (P,).
        slack, violation: as in `Segments`, on the union of the nets' atoms; slack (P,).
    """

    gammas: np.ndarray
    cross_entropy: np.ndarray
    slack: np.ndarray
    violation: float


def ensemble(
    nets: Sequence[Chain], images: Tensor, labels: Tensor, penalty: float, *, few: int = 64
) -> Ensemble:
    """Average the outputs of two nets, and check Jensen's inequality on the union of their atoms.

    Args:
        nets: two of one architecture;  images: (n, ...);  labels: int64 (n,).
        penalty: weight of the l_{1,2} penalty as the authors' code has it.
        few: of the images, from the first, on which the atoms live.
    """
    x = images[:few].double()
    one, two = (from_net(copy.deepcopy(net).double(), x) for net in nets)
    space, p, q = union(one, two)
    sizes = (x.shape[1], *(len(masses) for masses in one[1].p))
    strength = [penalty / (s.taps**2 * m) for s, m in zip(space.stages, sizes, strict=True)]
    found = segment(space, p, q, labels[:few], strength=strength, loss=cross_entropy)
    with torch.no_grad():
        first, second = (net(images) for net in nets)
        averaged = [
            float(torch.nn.functional.cross_entropy(g * first + (1 - g) * second, labels))
            for g in found.gammas.tolist()
        ]
    slack = (found.slack / found.totals.max()).numpy()
    return Ensemble(found.gammas.numpy(), np.array(averaged), slack, found.violation)
