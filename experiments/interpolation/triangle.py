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
    images: Tensor,
    labels: Tensor,
    *,
    weight: float,
    ridge: float,
    seed: int,
) -> Triangle:
    """Mixtures of three nets at all shares that are multiples of 1 / steps; their Gram matrices are
    computed once.

    Args:
        nets: three of one architecture;  steps: >= 3;  weight: of the l_{1,2} penalty.
    """
    grid = [(i, j, steps - i - j) for i in range(steps + 1) for j in range(steps + 1 - i)]
    shares = [tuple(v / steps for v in g) for g in grid]
    options = MixtureOptions(inputs="teacher", ridge=ridge)
    found = mixtures(nets, images, shares, options, generator=seed, y=labels, weight=weight)
    curve = loss_curve((m.net for m in found), images, labels, range(len(grid)), weight=weight)
    return Triangle(steps, np.array(grid), curve.overall.numpy())
