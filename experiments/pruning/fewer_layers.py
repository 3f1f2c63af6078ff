"""Deep nets on Iris and on images, from small weights and from ordinary ones, and the iterates at
which layers are to go (claims B11-layers to B11-images)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from experiments.depth.training import small_nets
from lib.critical import smallest_gradient_iterates
from lib.nets import MLP, forward, init
from lib.train.descent import Trajectory, descend

LR = 0.02
LEARNED = 0.1  # a slow point counts if its net has learned a tenth of the constant's loss
SLOW = {"slope": 0.7, "ratio": 1.3, "begin": 100}
ORDINARY = 2**0.5  # gain of ordinary weights, of deviation gain / sqrt(inputs)


@dataclass(frozen=True, eq=False)
class Task:
    """Samples: x (n, d), one-hot y (n, classes) and labels (n,)."""

    x: Tensor
    y: Tensor
    labels: Tensor

    @property
    def constant(self) -> float:
        """Loss of the best constant output."""
        return float(self.y.var(0, correction=0).mean())

    def right(self, net: MLP) -> int:
        """How many samples the net classifies rightly."""
        return int((forward(net, self.x).argmax(-1) == self.labels).sum())

    def widths(self, hidden: int = 20) -> tuple[int, ...]:
        """Three hidden layers between inputs and classes."""
        return (self.x.shape[1], hidden, hidden, hidden, self.y.shape[1])


def scaled(flowers: np.ndarray, species: np.ndarray) -> Task:
    """Inputs of mean 0 and deviation 1 each.

    >>> scaled(np.array([[0.0], [2.0]]), np.array([0, 1])).y
    tensor([[1., 0.],
            [0., 1.]], dtype=torch.float64)
    """
    x, labels = torch.tensor(flowers, dtype=torch.float64), torch.tensor(species)
    y = torch.nn.functional.one_hot(labels.long()).double()
    return Task((x - x.mean(0)) / x.std(0), y, labels)


def train_flowers(
    task: Task, count: int, epochs: int, generator: torch.Generator
) -> tuple[Trajectory, Trajectory]:
    """Nets on Iris from small parameters (deviation 0.08), and as many from ordinary ones."""
    small = init(task.widths(), "relu", std=0.08, batch=(count,), generator=generator)
    ordinary = small_nets(task.widths(), "relu", count, seed=1, gain=ORDINARY)
    options = {"steps": epochs, "lr": LR, "records": 120}
    small, ordinary = (descend(net, task.x, task.y, **options) for net in (small, ordinary))
    return small, ordinary


def train_images(task: Task, count: int, epochs: int) -> tuple[Trajectory, Trajectory]:
    """The same on images, where weights of deviation 0.3 / sqrt(inputs) are small."""
    nets = [small_nets(task.widths(), "relu", count, seed=2, gain=g) for g in (0.3, ORDINARY)]
    small, ordinary = (
        descend(net, task.x, task.y, steps=epochs, lr=15 * LR, records=120) for net in nets
    )
    return small, ordinary


@dataclass(frozen=True, eq=False)
class Place:
    """An iterate of training, beside one of a net from ordinary weights at the same loss.

    Args:
        owner: which net of the batch;  step: its epoch;  net, loss: there.
        rival: the ordinary net, of the same batch index and nearest loss.
    """

    owner: int
    step: int
    net: MLP
    loss: float
    rival: MLP


def slow_places(trained: Trajectory, ordinary: Trajectory, task: Task) -> list[Place]:
    """The iterate of least gradient in each slow window of each net that has learned something."""
    found = smallest_gradient_iterates(trained, **SLOW)
    owners, steps = found.index.tolist(), found.step.tolist()
    return [
        Place(k, step, found.net[i], loss, at_loss(ordinary, k, loss)[1])
        for i, (k, step, loss) in enumerate(zip(owners, steps, found.loss.tolist(), strict=True))
        if loss <= (1 - LEARNED) * task.constant
    ]


def places_at(trained: Trajectory, ordinary: Trajectory, losses: Sequence[float]) -> list[Place]:
    """The iterates of every net nearest to given losses, for nets that never stall."""
    places = []
    for k in range(trained.losses.shape[1]):
        for loss in losses:
            step, net = at_loss(trained, k, loss)
            places.append(Place(k, step, net, loss, at_loss(ordinary, k, loss)[1]))
    return places


def at_loss(trained: Trajectory, k: int, loss: float) -> tuple[int, MLP]:
    """Epoch and iterate of the k-th net whose loss is nearest to this one."""
    assert trained.smallest is not None
    i = int((trained.smallest_loss[:, k].log() - np.log(loss)).abs().argmin())
    return int(trained.smallest_step[i, k]), trained.smallest[i][k]
