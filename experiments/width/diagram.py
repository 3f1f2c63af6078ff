"""The critical functions that training passes: slow windows of many runs, polished and told
apart."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from lib.critical import cluster, polish, smallest_gradient_iterates
from lib.critical.clustering import Cluster
from lib.critical.polishing import CriticalPoint
from lib.curvature import hessian, inertia
from lib.nets import MLP, concatenate, flatten, init
from lib.train.descent import descend
from lib.width import embedding

SAME = 1e-3  # outputs closer than this are one function
FAR = 10.0  # a point that moved further while it was polished need not belong to its window


@dataclass(frozen=True)
class Met:
    """What the runs of one width met.

    Args:
        width: of the nets;  windows: how many slow windows;  points: polished critical points.
        smallest: smallest gradient L1 norm in all runs, before polishing.
    """

    width: int
    windows: int
    points: CriticalPoint
    smallest: float


@dataclass(frozen=True)
class CriticalFunction:
    """A function that critical points of one or more widths compute.

    Args:
        width: of the narrowest net that has it;  loss, net: of its first representative.
        counts: how many points were found at each width.
        own, wide: negative, zero and positive eigenvalues at its width, and embedded into 3.
    """

    width: int
    loss: float
    net: MLP
    output: Tensor
    own: tuple[int, ...]
    wide: tuple[int, ...]
    counts: dict[int, int] = field(default_factory=dict)

    @property
    def minimum(self) -> bool:
        """Whether no eigenvalue is negative at the width that it stems from."""
        return self.own[0] == 0


def meet(
    x: Tensor, y: Tensor, width: int, *, trials: int, epochs: int, generator: Generator
) -> Met:
    """Train nets of one width and polish the slow windows of their loss curves, and their ends."""
    start = init(
        (1, width, 1), std=width**-1.5, output_bias=False, batch=(trials,), generator=generator
    )
    runs = descend(start, x, y, steps=epochs, lr=0.005)
    slow = smallest_gradient_iterates(runs).net
    points = polish(concatenate([slow, runs.net]), x, y, max_steps=300).found
    return Met(width, len(flatten(slow)), points, float(runs.smallest_gradient.min()))


def critical_functions(met: list[Met], x: Tensor, y: Tensor) -> list[CriticalFunction]:
    """The distinct functions among the points met, the constant zero aside, narrowest first."""
    functions: list[CriticalFunction] = []
    for at in met:
        for found in cluster(at.points[at.points.moved < FAR], x):
            if float(found.output.abs().max()) < SAME:
                continue
            known = [f for f in functions if float((f.output - found.output).abs().max()) < SAME]
            entry = known[0] if known else _described(found, at.width, x, y)
            entry.counts[at.width] = found.count
            if not known:
                functions.append(entry)
    return functions


def _described(found: Cluster, width: int, x: Tensor, y: Tensor) -> CriticalFunction:
    net = found.representative
    wide = embedding(net, [(1, 0, 0.37)] * (3 - width))(net) if width < 3 else net
    own, embedded = (inertia(hessian(n, x, y)).counts for n in (net, wide))
    return CriticalFunction(width, found.loss, net, found.output, own, embedded)


def plotted_line(points: int = 400) -> Tensor:
    """Where outputs are drawn, (points, 1)."""
    return torch.linspace(-15, 15, points, dtype=torch.float64)[:, None]
