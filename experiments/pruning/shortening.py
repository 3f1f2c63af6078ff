"""What is left of a deep net when neurons and layers are merged, beside two nulls, and what that
costs at once and after further training (claims B11-layers to B11-images).

The budget of a reduction is one per cent of what the net has *learned*, the loss of the best
constant less its own. (One per cent of the loss itself lets nets that have learned nothing lose
every layer.)"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.pruning.fewer_layers import LR, Place, Task
from lib.merge import reduce
from lib.merge.layers import fit_layers
from lib.merge.reduction import Reduction
from lib.nets import MLP, risk, stack
from lib.train.descent import descend

BUDGET = 0.01  # by how much of what was learned the loss may rise


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
