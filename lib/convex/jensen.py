"""Jensen's inequality, measured: the objective of Theorem 1 along segments between random points
and between nets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.convex.space import Point, Space, mixture
from lib.convex.terms import Terms, objective, violation
from lib.nets import Loss, mse


@dataclass(frozen=True, eq=False)
class Segment:
    """The objective along gamma * first + (1 - gamma) * second.

    Args:
        gammas: (n,);  terms: at each;  violation: the largest of the constraints on the segment.
    """

    gammas: Tensor
    terms: tuple[Terms, ...]
    violation: float

    @property
    def totals(self) -> Tensor:
        """Q at each gamma, (n,)."""
        return torch.tensor([t.total for t in self.terms], dtype=torch.float64)

    @property
    def slack(self) -> Tensor:
        """Chord minus curve, (n,): >= 0 everywhere on a convex function."""
        q = self.totals
        return self.gammas * q[-1] + (1 - self.gammas) * q[0] - q


def segment(
    space: Space,
    first: Point,
    second: Point,
    y: Tensor,
    *,
    strength: Sequence[float],
    loss: Loss = mse,
    steps: int = 11,
) -> Segment:
    """The objective at `steps` evenly spaced mixtures of two points, gamma from 0 (`second`) to 1
    (`first`).

    Args:
        y, strength, loss: as `objective` takes them;  steps: >= 2.
    Raises:
        ValueError: fewer than two steps, or points that are not on this space.
    Source: (Gu et al. 2020, Thm 1).
    """
    if steps < 2:
        raise ValueError(f"steps is {steps}: expected >= 2, the two ends among them")
    gammas = torch.linspace(0, 1, steps, dtype=torch.float64)
    points = [mixture(first, second, float(g)) for g in gammas]
    terms = tuple(objective(space, q, y, strength=strength, loss=loss) for q in points)
    return Segment(gammas, terms, max(violation(space, q) for q in points))


def random_point(
    space: Space, outputs: int, generator: torch.Generator, *, noise: float = 1.0
) -> Point:
    """A random feasible point: Dirichlet masses, weights drawn from all that carry each layer's
    features to the next.

    w~_j = A^+ (v_j p_j) + noise * (random element of the null space of A), A = [patches of the
    layer below, 1].

    Args:
        outputs: K;  noise: of the free part, and of u~ and c.
    Returns:
        A point with every p > 0 and `violation` at rounding level.
    Raises:
        ValueError: no weights lead from one layer's atoms to the next layer's (too few atoms, or
            foreign ones).
    """
    p = [
        torch.rand(g, generator=generator, dtype=torch.float64).log().neg() for g in space.sizes[1:]
    ]
    p = [q / q.sum() for q in p]
    weights, biases = [], []
    for layer, (q, v) in enumerate(zip(p, space.atoms, strict=True), start=1):
        stage = space.stages[layer - 1]
        a = stage.patches(space.below(layer))
        a = torch.cat([a, torch.ones_like(a[:, :1])], 1)
        target = (v * q.reshape(1, -1, *(1,) * (v.dim() - 2))).movedim(1, -1).reshape(len(a), -1)
        inverse = torch.linalg.pinv(a, rtol=1e-12)
        free = (
            noise
            * torch.randn(a.shape[1], len(q), generator=generator, dtype=torch.float64)
            / a.shape[1]
        )
        solved = inverse @ target + free - inverse @ (a @ free)
        missed = float((a @ solved - target).abs().max() / target.abs().max())
        if missed > 1e-8:
            raise ValueError(
                f"no weights lead to the atoms of layer {layer} (relative error {missed:.2g}): "
                "take atoms of nets, or more atoms below"
            )
        weights.append(solved[:-1].mT.reshape(len(q), -1, stage.taps))
        biases.append(solved[-1])
    u = noise * torch.randn(
        outputs, space.sizes[-1], space.stages[-1].taps, generator=generator, dtype=torch.float64
    )
    c = noise * torch.randn(outputs, generator=generator, dtype=torch.float64)
    return Point(tuple(p), tuple(weights), tuple(biases), u * p[-1][None, :, None], c)
