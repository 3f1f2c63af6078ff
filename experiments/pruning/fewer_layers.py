"""Layers of deep nets that can be merged away where training is slow, and what that costs (claims
B11-layers, B11-accuracy, B11-later, B11-images).

The budget of a reduction is one per cent of what the net has *learned*, the loss of the best
constant less its own. (One per cent of the loss itself lets nets that have learned nothing lose
every layer.)"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from experiments.depth.training import small_nets
from lib.critical import smallest_gradient_iterates
from lib.merge import reduce
from lib.merge.layers import fit_layers
from lib.merge.reduction import Reduction
from lib.nets import MLP, forward, init, risk, stack
from lib.train.descent import Trajectory, descend

LR = 0.02
BUDGET = 0.01  # by how much of what was learned the loss may rise when a net is reduced
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


@dataclass(frozen=True, eq=False)
class Shorter:
    """What is left of a net when neurons and layers are merged within the budget.

    Args:
        at: where;  less: the reduced net and every attempt;  rise: of the loss.
        permuted, ordinary: hidden layers that go within the same budget when the entries of every
            layer are permuted, and from the ordinary net at the same loss.
        errors: linearisation error of each hidden layer.
        right: samples classified rightly before and after;  forced: by the ordinary net before and
            after as many layers are merged by force.
    """

    at: Place
    less: Reduction
    rise: float
    permuted: int
    ordinary: int
    errors: tuple[float, ...]
    right: tuple[int, int]
    forced: tuple[int, int]

    @property
    def gone(self) -> int:
        """Hidden layers that went."""
        return self.at.net.depth - self.less.net.depth


def shorten(at: Place, task: Task, generator: torch.Generator) -> Shorter:
    """Reduce a net and its two nulls within one per cent of what the net has learned."""
    before = float(risk(at.net, task.x, task.y))
    budget = BUDGET * max(task.constant - before, 0.0)
    less = reduce(at.net, task.x, task.y, budget=budget)
    others = [permuted(at.net, generator), at.rival]
    gone = [n.depth - reduce(n, task.x, task.y, budget=budget).net.depth for n in others]
    forced = merged_by_force(at.rival, task.x, at.net.depth - less.net.depth)
    return Shorter(
        at,
        less,
        float(risk(less.net, task.x, task.y)) - before,
        *gone,
        tuple(f.error for f in fit_layers(at.net, task.x, "neuron")),
        (task.right(at.net), task.right(less.net)),
        (task.right(at.rival), task.right(forced)),
    )


def permuted(net: MLP, generator: torch.Generator) -> MLP:
    """The net with the entries of every weight matrix and bias in random order.

    >>> net = MLP((torch.tensor([[1.0, 2.0]]),))
    >>> sorted(permuted(net, torch.Generator().manual_seed(0)).weights[0].flatten().tolist())
    [1.0, 2.0]
    """

    def shuffle(p: Tensor) -> Tensor:
        return p.flatten()[torch.randperm(p.numel(), generator=generator)].reshape(p.shape)

    return net.map(shuffle)


def merged_by_force(net: MLP, x: Tensor, count: int) -> MLP:
    """The net without `count` hidden layers, the most nearly linear first, whatever it costs."""
    for _ in range(count):
        net = min(fit_layers(net, x, "neuron"), key=lambda f: f.error).merged(net)
    return net


@dataclass(frozen=True)
class Ends:
    """Losses and samples right after further training of the deep net, the reduced one, and the
    deep one with all hidden layers merged by force, a linear map."""

    losses: tuple[float, float, float]
    right: tuple[int, int, int]


def train_on(points: Sequence[Shorter], task: Task, epochs: int) -> list[Ends]:
    """Train deep, reduced and linear nets on for as many epochs, nets of one shape together."""
    nets: list[MLP] = []
    for p in points:
        nets += [p.at.net, p.less.net, merged_by_force(p.at.net, task.x, p.at.net.depth - 1)]
    losses, right = [0.0] * len(nets), [0] * len(nets)
    for widths in sorted({n.widths for n in nets}):
        same = [i for i, n in enumerate(nets) if n.widths == widths]
        batch = stack([nets[i] for i in same])
        run = descend(batch, task.x, task.y, steps=epochs, lr=LR, records=2, keep_smallest=False)
        for place, i in enumerate(same):
            losses[i], right[i] = float(run.losses[-1, place]), task.right(run.net[place])
    triples = range(0, len(nets), 3)
    return [Ends((*losses[i : i + 3],), (*right[i : i + 3],)) for i in triples]


def by_net(points: Sequence[Shorter], values: Sequence[float]) -> dict[str, list[float]]:
    """One row for every point: the net it belongs to, its epoch and loss, and a value."""
    return {
        "seed": [p.at.owner for p in points],
        "epoch": [p.at.step for p in points],
        "loss": [p.at.loss for p in points],
        "value": list(values),
    }
