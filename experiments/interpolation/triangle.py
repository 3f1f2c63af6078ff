"""Mixtures of three nets over the triangle of their shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lib.mixture import MixtureOptions, loss_curve, mixtures
from lib.nets import Chain

DIRECTIONS = ((1, -1, 0), (1, 0, -1), (0, 1, -1))


@dataclass(frozen=True, eq=False)
class Triangle:
    """The loss of mixtures of three nets.

    Args:
        steps: along a side;  grid: shares in units of 1 / steps, (P, 3);  overall: (P,).
    """

    steps: int
    grid: np.ndarray
    overall: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """(P, 3), each with sum 1."""
        return self.grid / self.steps

    @property
    def corners(self) -> np.ndarray:
        """The losses of the three nets' own mixtures."""
        loss = self._loss()
        return np.array([loss[tuple(self.steps * k)] for k in np.eye(3, dtype=int)])

    @property
    def bends(self) -> np.ndarray:
        """All second differences along the three directions of the triangle."""
        loss, found = self._loss(), []
        for g in loss:
            for d in DIRECTIONS:
                ends = [tuple(np.add(g, s * np.array(d))) for s in (1, -1)]
                if all(e in loss for e in ends):
                    found.append(loss[ends[0]] + loss[ends[1]] - 2 * loss[g])
        return np.array(found)

    @property
    def bend(self) -> float:
        """The smallest second difference as a share of the range of the losses."""
        return float(self.bends.min() / np.ptp(self.overall))

    def shuffled(self, seed: int) -> Triangle:
        """The same losses at other shares: what convexity would look like by chance."""
        order = np.random.default_rng(seed).permutation(len(self.overall))
        return Triangle(self.steps, self.grid, self.overall[order])

    @property
    def excess(self) -> np.ndarray:
        """Height above the plane through the corners, (P,)."""
        return self.overall - self.shares @ self.corners

    @property
    def best_inside(self) -> float:
        """The lowest loss of a mixture of all three."""
        return float(self.overall[self.grid.min(1) > 0].min())

    def _loss(self) -> dict[tuple[int, ...], float]:
        return dict(zip(map(tuple, self.grid.tolist()), self.overall.tolist(), strict=True))


def triangle(
    nets: Sequence[Chain],
    steps: int,
    fit: tuple[Tensor, Tensor],
    score: tuple[Tensor, Tensor],
    options: MixtureOptions,
    *,
    weight: float,
    seed: int,
) -> Triangle:
    """Mixtures of three nets at all shares that are multiples of 1 / steps; their Gram matrices are
    computed once.

    Args:
        nets: three of one architecture;  steps: >= 3;  weight: of the l_{1,2} penalty.
        fit, score: images and labels on which mixtures are fitted, and on which they are scored.
    """
    grid = [(i, j, steps - i - j) for i in range(steps + 1) for j in range(steps + 1 - i)]
    shares = [tuple(v / steps for v in g) for g in grid]
    x, y = fit
    found = mixtures(nets, x, shares, options, generator=seed, y=y, weight=weight)
    curve = loss_curve((m.net for m in found), *score, range(len(grid)), weight=weight)
    return Triangle(steps, np.array(grid), curve.overall.numpy())
