"""F(p), the objective of Theorem 1 minimised over weights at given masses: what Algorithm 2
approximates, beside the ensemble and the chord."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from experiments.convexity import descend_two_layer, segment
from experiments.two_layer import TwoLayer
from lib.convex import Point, minimum_at_shares


@dataclass(frozen=True, eq=False)
class Minimum:
    """Three curves between two nets of one hidden layer.

    Args:
        gammas: (P,);  minimum: F;  ensemble: Q of the mixed points;  chord: between its ends.
    """

    gammas: np.ndarray
    minimum: np.ndarray
    ensemble: np.ndarray
    chord: np.ndarray

    @property
    def violation(self) -> float:
        """By how much F is not convex, or not below the ensemble, or the ensemble above the chord:
        the largest of the three, relative to the largest value."""
        bends = -np.diff(self.minimum, 2)
        above = [
            bends.max(),
            (self.minimum - self.ensemble).max(),
            (self.ensemble - self.chord).max(),
        ]
        return float(max(0.0, *above) / self.ensemble.max())


def minimum_path(
    problem: TwoLayer, *, width: int, steps: int, points: int, generator: torch.Generator
) -> Minimum:
    """F along the mixtures of two nets that descent has brought part of the way.

    Args:
        width: neurons of each;  steps: of descent;  points: shares, evenly spaced in [0, 1].
        generator: of the starts.
    """
    w, u = descend_two_layer(problem, width, nets=2, steps=steps, lr=1.0, generator=generator)
    space = problem.space(w.flatten(0, 1))
    first, second = (_point(w, u, k) for k in (0, 1))
    options = {"strength": problem.strength}
    found = segment(space, first, second, problem.y, steps=points, **options)
    gammas, total = found.gammas, found.totals
    best = minimum_at_shares(space, first, second, problem.y, gammas.tolist(), **options)
    least = np.array([b.terms.total for b in best])
    chord = gammas * total[-1] + (1 - gammas) * total[0]
    return Minimum(gammas.numpy(), least, total.numpy(), chord.numpy())


def _point(w: Tensor, u: Tensor, which: int) -> Point:
    """Net `which` of all as a point on the atoms of all nets' neurons."""
    nets, m, _ = w.shape
    p = w.new_zeros(nets, m)
    p[which] = 1 / m
    p = p.flatten()
    tied = (w.flatten(0, 1) * p[:, None] / w.shape[2])[..., None]  # w~ = w p p^(0)
    top = (u.flatten(0, 1) * p[:, None]).mT[..., None]
    zero = torch.zeros(u.shape[2], dtype=w.dtype)
    return Point((p,), (tied,), (torch.zeros_like(p),), top, zero)
