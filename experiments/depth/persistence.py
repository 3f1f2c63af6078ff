"""How lifts fare when data are added: in the hull of the old ones, and outside (claim B5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lib.depth import lift, lifted_from
from lib.nets import MLP, init

WIDTH = 4  # neurons of the inserted layer, more than the three behind it


def hull_points(cloud: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Random convex combinations of the cloud's points, each near a few of them: (count, m).

    >>> corners = torch.eye(3).double()
    >>> float(hull_points(corners, 2, torch.Generator().manual_seed(0)).sum())
    2.0
    """
    size = (count, len(cloud))
    mixing = torch.rand(*size, generator=generator, dtype=torch.float64) ** 8
    return (mixing / mixing.sum(1, keepdim=True)) @ cloud


@dataclass(frozen=True)
class Persistence:
    """Lifts on few points, and lifts on more.

    Args:
        counts: numbers of points.
        shares: for each cloud the share of lifts on the fewest points that are lifts on more.
        nested: for lifts on more points, whether each is a lift on the fewest.
    """

    counts: tuple[int, ...]
    shares: dict[str, np.ndarray]
    nested: tuple[bool, ...]


def persistence(
    clouds: dict[str, Tensor],
    counts: Sequence[int],
    generator: torch.Generator,
    *,
    lifts: int = 60,
    back: int = 10,
) -> Persistence:
    """Of random lifts of one net on the first points, how many are lifts on more, and the reverse.

    Args:
        clouds: points (n, 4) in the order in which the sample grows; the first counts[0] agree in
            all of them.
        lifts: on the fewest points;  back: lifts on each larger number.
    """
    net, first = init((4, 3, 1), "relu", generator=generator), next(iter(clouds.values()))
    few = first[: counts[0]]
    on_few = [lift(net, few, 0, WIDTH, generator=generator) for _ in range(lifts)]
    shares: dict[str, list[float]] = {name: [] for name in clouds}
    nested = []
    for n in counts:
        for name, points in clouds.items():
            shares[name].append(share_lifted(on_few, net, points[:n]))
        more = [lift(net, first[:n], 0, WIDTH, generator=generator) for _ in range(back)]
        nested += [lifted_from(deep, net, few) is not None for deep in more]
    arrays = {name: np.array(values) for name, values in shares.items()}
    return Persistence(tuple(counts), arrays, tuple(nested))


def share_lifted(lifts: Sequence[MLP], net: MLP, x: Tensor) -> float:
    """Share of deep nets that are lifts of `net` on x."""
    return float(np.mean([lifted_from(deep, net, x) is not None for deep in lifts]))


def kept_off_the_hull(width: int, lifts: int, generator: torch.Generator) -> float:
    """Share of lifts of a 2-1-1 net that stay lifts when a point is added far outside the hull of
    the inputs, where W f is one of the old values.

    With the least width, rank W = 1, all of them stay: a lifted neuron then reads the data through
    W f alone. With one neuron more some are lost.

    >>> kept_off_the_hull(1, 20, torch.Generator().manual_seed(0))
    1.0
    """
    net = init((2, 1, 1), "relu", generator=generator)
    points = torch.randn(16, 2, generator=generator, dtype=torch.float64)
    w = net.weights[0][0]
    away = torch.stack([-w[1], w[0]]) / w.norm()  # W does not see this direction
    more = torch.cat([points, points[:1] + 100 * away])
    deep = [lift(net, points, 0, width, generator=generator) for _ in range(lifts)]
    return share_lifted(deep, net, more)
