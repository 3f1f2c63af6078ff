"""Width and depth together: nets whose neurons are split and into which a layer is put."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from experiments.depth.planted import Planted, critical_net, gradient_norm
from lib.curvature import hessian, inertia
from lib.depth import lift
from lib.nets import MLP, Activation
from lib.width import embed


@dataclass(frozen=True)
class Combined:
    """A critical net split and lifted, in one of the two orders.

    Args:
        first: which came first, "split" or "lift";  gradient: norm at the end.
        signs_lost: negative or positive eigenvalues fewer than at the shallow narrow net.
        zeros_missing: zeros fewer than the lift's parameters and one for the split.
    """

    first: str
    gradient: float
    signs_lost: int
    zeros_missing: int


def combine(
    sigmas: Sequence[str | Activation], tries: int, generator: torch.Generator
) -> list[Combined]:
    """Minima and saddles of 2-2-2 nets, split by a random share and lifted behind the split layer.

    >>> found = combine(("relu",), 1, torch.Generator().manual_seed(0))
    >>> max(c.gradient for c in found) < 1e-10, {c.signs_lost for c in found}
    (True, {0})
    """
    found = []
    for sigma in sigmas:
        for number in range(tries):
            saddle = bool(number % 2)
            point = critical_net((2, 2, 2), sigma, saddle=saddle, generator=generator)
            share = float(torch.randn((), generator=generator))
            split = embed(point.net, [(1, 0, share)])
            after = lift(split, point.x, 1, 4, generator=generator)
            found.append(_measured("split", point, after))
            lifted = lift(point.net, point.x, 1, 4, generator=generator)
            found.append(_measured("lift", point, embed(lifted, [(1, 0, share)])))
    return [c for c in found if c is not None]


def _measured(first: str, point: Planted, deep: MLP) -> Combined | None:
    after = inertia(hessian(deep, point.x, point.y), require=False)
    if not bool(after.clear):
        return None
    a, b = point.inertia.counts, after.counts
    lift_adds = 4 * (2 + 2 + 1) - 2 * 2  # of the narrow net's layers
    return Combined(
        first,
        gradient_norm(deep, point.x, point.y),
        max(0, a[0] - b[0]) + max(0, a[2] - b[2]),
        max(0, lift_adds + 1 - (b[1] - a[1])),
    )
