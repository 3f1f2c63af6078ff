"""The critical functions of narrow nets as a compass for a wide one, and its plateau from starts of
other scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.width.wide_net import WideNet, loss_at
from lib.nets import MLP, forward
from lib.train.descent import Trajectory

POWERS = (1.5, 2.0, 3.0)  # deviations width**-power; the first is the paper's
MARK = 5000  # epoch of the paper's blue dot


@dataclass(frozen=True)
class Passing:
    """How near a training comes to a set of functions, in root mean square over the data.

    Args:
        epoch, distance: where it is nearest, and how near.
        straight: the same for the mixtures of two functions, the first and the last.
        mixed: the same for the mixtures of the net's own outputs on the plateau and at its end.
    """

    epoch: int
    distance: float
    straight: float
    mixed: float

    def over(self, name: str) -> float:
        """One of the distances over that of a straight way."""
        return float(getattr(self, name)) / self.straight


def nearest(outputs: Tensor, functions: Sequence[Tensor]) -> Tensor:
    """Distance of each output, (R, n, 1), from the nearest function, (n, 1).

    >>> nearest(torch.ones(1, 4, 1), [torch.zeros(4, 1), torch.full((4, 1), 3.0)])
    tensor([1.])
    """
    gaps = [(outputs - f).square().mean((-2, -1)).sqrt() for f in functions]
    return torch.stack(gaps).amin(0)


def passing(walk: Trajectory, k: int, ends: tuple[MLP, MLP], between: list[MLP], x: Tensor):
    """Whether the k-th net of a training passes near functions `between` its first and its last.

    Args:
        walk: of wide nets, with its iterates;  ends: nets of the first and the last function.
        x: the data.
    """
    assert walk.smallest is not None
    functions = [forward(net, x) for net in between]
    way = forward(walk.smallest.map(lambda p: p[:, k]), x)
    gaps = nearest(way, functions)
    at = int(gaps.argmin())
    share = torch.linspace(0, 1, 201, dtype=x.dtype)[:, None, None]
    plateau = int((walk.smallest_step[:, k] - MARK).abs().argmin())
    pairs = [(forward(ends[0], x), forward(ends[1], x)), (way[plateau], way[-1])]
    mixed = [float(nearest((1 - share) * a + share * b, functions).min()) for a, b in pairs]
    return Passing(int(walk.smallest_step[at, k]), float(gaps[at]), mixed[0], mixed[1])


def plateau_losses(wide: WideNet, seeds: int) -> dict[str, list]:
    """Losses at the paper's blue dot, by gradient descent as stated, from every scale and seed: one
    row each."""
    table: dict[str, list] = {"seed": [], "power": [], "start": [], "value": []}
    short = WideNet(wide.x, wide.y, wide.width, MARK, wide.seed)
    for power in POWERS:
        walk = short.train(power, seeds=seeds, lr=0.005)
        for k in range(seeds):
            row = (k, power, float(walk.losses[0, k]), loss_at(walk, MARK, k))
            for name, entry in zip(table, row, strict=True):
                table[name].append(entry)
    return table
