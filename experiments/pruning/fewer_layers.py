"""Layers of deep nets on Iris that can be merged away at slow points of training (claim B11)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lib.critical import smallest_gradient_iterates
from lib.merge import merge_layers, reduce
from lib.merge.reduction import Reduction
from lib.nets import MLP, forward, init, risk
from lib.train.descent import Trajectory, descend

LR = 0.01
BUDGET = 0.01  # by how much of itself the loss may rise when a net is reduced
SLOW = {"slope": 0.7, "ratio": 1.3, "begin": 200}
FIRST_PLATEAU = 0.15  # a loss above is that of the first plateau


def scaled(flowers: np.ndarray, species: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs of mean 0 and deviation 1, one-hot targets, and labels.

    >>> scaled(np.array([[0.0], [2.0]]), np.array([0, 1]))[1]
    tensor([[1., 0., 0.],
            [0., 1., 0.]], dtype=torch.float64)
    """
    x, labels = torch.tensor(flowers, dtype=torch.float64), torch.tensor(species)
    y = torch.eye(3, dtype=torch.float64)[labels]
    return (x - x.mean(0)) / x.std(0), y, labels


@dataclass(frozen=True, eq=False)
class SlowPoint:
    """An iterate of small gradient, and what is left of it when neurons and layers are merged.

    Args:
        owner: which net of the batch;  step: its epoch;  net, loss: there.
        errors: linearisation error of each hidden layer.
        less: the reduced net and every attempt;  reduced: its loss.
        right: flowers classified rightly before and after reducing, at once.
        ends, ends_right: loss and flowers right of both after as many epochs of further training.
    """

    owner: int
    step: int
    net: MLP
    loss: float
    errors: tuple[float, ...]
    less: Reduction
    reduced: float
    right: tuple[int, int]
    ends: tuple[float, float]
    ends_right: tuple[int, int]

    @property
    def hidden(self) -> int:
        """Hidden layers that are left."""
        return self.less.net.depth - 1

    @property
    def is_shorter(self) -> bool:
        """At least one layer went."""
        return self.less.net.depth < self.net.depth

    @property
    def at_once(self) -> int:
        """Flowers lost on balance when the net was reduced."""
        return self.right[0] - self.right[1]

    @property
    def later(self) -> int:
        """Flowers fewer than the deep net has after further training of both."""
        return self.ends_right[0] - self.ends_right[1]


def right(net: MLP, x: Tensor, labels: Tensor) -> int:
    """How many of the sample the net classifies rightly."""
    return int((forward(net, x).argmax(-1) == labels).sum())


def train_deep(
    count: int, x: Tensor, y: Tensor, epochs: int, generator: torch.Generator
) -> Trajectory:
    """ReLU nets with three hidden layers of 20 by gradient descent from small parameters."""
    widths = (x.shape[1], 20, 20, 20, y.shape[1])
    net = init(widths, "relu", std=0.08, batch=(count,), generator=generator)
    return descend(net, x, y, steps=epochs, lr=LR, records=120)


def slow_points(
    trained: Trajectory, x: Tensor, y: Tensor, labels: Tensor, epochs: int
) -> list[SlowPoint]:
    """Reduce every net in each of its slow windows, then train both on."""
    found, points = smallest_gradient_iterates(trained, **SLOW), []
    options = {"steps": epochs, "lr": LR, "records": 2, "keep_smallest": False}
    for k in range(len(found.step)):
        net, loss = found.net[k], float(found.loss[k])
        less = reduce(net, x, y, budget=BUDGET * loss)
        pair = (net, less.net)
        after = [descend(n, x, y, **options) for n in pair]
        errors = merge_layers(net, x, fit="neuron").errors
        point = SlowPoint(
            int(found.index[k]),
            int(found.step[k]),
            net,
            loss,
            tuple(float(e) for e in errors),
            less,
            float(risk(less.net, x, y)),
            tuple(right(n, x, labels) for n in pair),
            tuple(float(a.losses[-1]) for a in after),
            tuple(right(a.net, x, labels) for a in after),
        )
        points.append(point)
    return points
