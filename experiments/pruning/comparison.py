"""Merging against its rivals on one trained net: what accuracy is left, of how many weights, at
what cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from experiments.pruning.rivals import CRITERIA, magnitude_prune, rewind, torch_pruning
from experiments.pruning.samples import Sample, accuracy
from experiments.pruning.training import Adam, Training, n_weights, softmax_mse, train
from lib.merge.neurons import merge_neurons
from lib.nets import MLP, Loss, init, risk


@dataclass(frozen=True)
class Point:
    """One small net.

    Args:
        method: "dense", "merge", "magnitude", "torch-pruning <criterion>", "ticket" or "narrow".
        cosine: of the merge that set the size.
        n_weights: weights that are not zero.
        trained: epochs after pruning (or rewinding, or from the narrow net's start).
        accuracy, loss: on the test sample, and on the training sample.
        work: multiply-adds of all training it took, that of the dense net included.
    """

    method: str
    cosine: float
    n_weights: int
    trained: int
    accuracy: float
    loss: float
    work: float


@dataclass(frozen=True)
class Rules:
    """What is the same for all methods.

    Args:
        cosines, amplitude: of the merges; each sets a size for all methods.
        epochs, lr: of the dense nets, and of those trained from the start: narrow nets, and tickets
            at the cosines named in `tickets`, which cost as much as the dense net.
        tuning: epochs of training after pruning, reported without and with.
        criteria: of Torch-Pruning;  loss: of all training.
    """

    cosines: Sequence[float]
    amplitude: float
    epochs: int
    lr: float
    tuning: int
    tickets: Sequence[float] = ()
    criteria: Sequence[str] = tuple(CRITERIA)
    loss: Loss = softmax_mse

    def adam(self, steps: int) -> Adam:
        """So many steps by these rules."""
        return Adam(steps, self.lr, self.loss)


@dataclass(frozen=True, eq=False)
class Contender:
    """A net in the comparison: its method and size, the mask of its weights, the work so far."""

    method: str
    cosine: float
    net: MLP
    mask: MLP | None
    work: float


@dataclass
class Comparison:
    """One trained net, cut by every method.

    Args:
        start, dense: a net at initialisation and its training.
        sample, test: for training and for accuracy.
        rules: the same for all;  seed: of what is random.
        points: what was found so far.
    """

    start: MLP
    dense: Training
    sample: Sample
    test: Sample
    rules: Rules
    seed: int
    points: list[Point] = field(default_factory=list)

    def enter(self, one: Contender, trained: int = 0) -> None:
        """Put a net on record as it is."""
        s, n = self.sample, n_weights(one.net, one.mask)
        loss, right = float(risk(one.net, s.x, s.y, self.rules.loss)), accuracy(one.net, self.test)
        self.points.append(Point(one.method, one.cosine, n, trained, right, loss, one.work))

    def enter_trained(self, one: Contender, steps: int) -> None:
        """Put it on record after further training."""
        s, rule = self.sample, self.rules.adam(steps)
        run = train(one.net, s.x, s.y, rule, mask=one.mask, records=2)
        done = Contender(one.method, one.cosine, run.net, one.mask, one.work + run.work)
        self.enter(done, steps)

    def pruned(self, cosine: float, small: MLP) -> list[Contender]:
        """The trained net at the size of the merged one, by every method that prunes."""
        s, net, work = self.sample, self.dense.net, self.dense.work
        cut = magnitude_prune(net, n_weights(small))
        found = [
            Contender("merge", cosine, small, None, work),
            Contender("magnitude", cosine, cut.net, cut.mask, work),
        ]
        for name in self.rules.criteria:
            less = torch_pruning(net, small.widths, name, s.x, s.y, self.rules.loss, seed=self.seed)
            method = f"torch-pruning {name.removesuffix('Importance')}"
            found.append(Contender(method, cosine, less, None, work))
        return found

    def afresh(self, cosine: float, small: MLP) -> list[Contender]:
        """Nets that are trained from the start: a narrow one, and where asked for a ticket."""
        generator, std = (
            torch.Generator().manual_seed(self.seed),
            float(self.start.weights[0].std()),
        )
        options = {"std": std, "bias": False, "generator": generator, "dtype": self.start.dtype}
        fresh = init(small.widths, self.start.activation, **options)
        found = [Contender("narrow", cosine, fresh, None, 0.0)]
        if cosine in self.rules.tickets:
            ticket = rewind(self.start, self.dense.net, n_weights(small))
            found.append(Contender("ticket", cosine, ticket.net, ticket.mask, self.dense.work))
        return found


def compare(
    start: MLP, dense: Training, sample: Sample, test: Sample, rules: Rules, *, seed: int = 0
) -> tuple[Point, ...]:
    """Every method at the sizes that merging gives; arguments as in `Comparison`.

    >>> import numpy as np
    >>> from experiments.pruning.samples import standardise
    >>> s = standardise(np.eye(6), np.arange(6) % 2, mean=0.2, std=0.4)
    >>> net = init((7, 5, 2), "relu", bias=False, dtype=torch.float32, generator=0)
    >>> rules = Rules([0.5], amplitude=0.0, epochs=3, lr=0.1, tuning=2, criteria=())
    >>> found = compare(net, train(net, s.x, s.y, rules.adam(0)), s, s, rules)
    >>> [(p.method, p.trained) for p in found]
    [('dense', 0), ('merge', 0), ('merge', 2), ('magnitude', 0), ('magnitude', 2), ('narrow', 3)]
    """
    done = Comparison(start, dense, sample, test, rules, seed)
    done.enter(Contender("dense", 1.0, dense.net, None, dense.work))
    for cosine in rules.cosines:
        small = merge_neurons(dense.net, cosine, rules.amplitude).net
        for one in done.pruned(cosine, small):
            done.enter(one)
            done.enter_trained(one, rules.tuning)
        for one in done.afresh(cosine, small):
            done.enter_trained(one, rules.epochs)
    return tuple(done.points)
