"""Losses along a path of nets: every image of every net, so that means, errors and bootstrap bands
follow later."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lib.mixture.barriers import Numbers, excess
from lib.nets import Chain
from lib.nets.chain import as_chain
from lib.nets.kinds import check_by_sample
from lib.nets.samples import (
    Data,
    check_alone,
    check_classes,
    check_finite,
    in_batches,
    whole,
)
from lib.train.sgd.regulariser import penalty


@dataclass(frozen=True, eq=False)
class LossCurve:
    """What a path of P nets does on n images.

    Args:
        gammas: (P,), the share of the first net.
        losses: cross entropy of every image (P, n);  correct: (P, n), bool;  regulariser:
            unweighted (P,).
        weight: of the regulariser in `overall`.
    """

    gammas: Tensor
    losses: Tensor
    correct: Tensor
    regulariser: Tensor
    weight: float = 1.0

    @property
    def cross_entropy(self) -> Tensor:
        """Mean over the images, (P,)."""
        return self.losses.mean(1)

    @property
    def overall(self) -> Tensor:
        """Cross entropy + weight * regulariser, (P,), what training minimises."""
        return self.cross_entropy + self.weight * self.regulariser

    @property
    def accuracy(self) -> Tensor:
        """(P,), in [0, 1]."""
        return self.correct.double().mean(1)

    @property
    def excess(self) -> Tensor:
        """`overall` less its chord, (P,): <= 0 everywhere on a convex curve."""
        return excess(self.gammas, self.overall)

    def every(self, step: int) -> LossCurve:
        """Every step-th point, both ends included.

        Raises:
            ValueError: a step that does not lead from the first point to the last.

        >>> losses, at = torch.zeros(5, 2), torch.linspace(0, 1, 5)
        >>> curve = LossCurve(at, losses, losses > 0, torch.zeros(5))
        >>> curve.every(2).gammas.tolist()
        [0.0, 0.5, 1.0]
        """
        if step < 1 or (len(self.gammas) - 1) % step:
            raise ValueError(
                f"step is {step}: expected a divisor of {len(self.gammas) - 1}, the number of"
                " intervals"
            )
        s = slice(None, None, step)
        columns = self.gammas[s], self.losses[s], self.correct[s], self.regulariser[s]
        return LossCurve(*columns, self.weight)


@torch.no_grad()
def loss_curve(
    nets: Iterable[Chain | nn.Sequential],
    x: Data,
    y: Tensor | None,
    gammas: Numbers,
    *,
    kind: str = "l12",
    weight: float = 1.0,
    batch: int = 256,
) -> LossCurve:
    """The losses of given nets, e.g. of mixtures.

    Args:
        nets: P nets;  gammas: where they stand, (P,).
        x: images (n, ...) with classes y, int64 (n,); or batches (x, y), and y None.
        kind, weight: of the regulariser, see `lib.train.sgd.penalty`.
        batch: images at a time.
    Raises:
        ValueError: not one gamma for each net, no images, or not one class for each of them, or a
            net that does not treat every image by itself.

    >>> net = Chain([nn.Linear(2, 2)], [])
    >>> loss_curve([net, net], torch.eye(2), torch.tensor([0, 1]), [0, 1]).losses.shape
    torch.Size([2, 2])
    """
    x, y = whole(x, y, labelled=True)
    at = torch.as_tensor(gammas, dtype=torch.float64)
    losses, correct, regulariser = [], [], []
    for net in nets:
        runner = copy.deepcopy(as_chain(net)).eval()
        check_by_sample(runner)
        output = torch.cat([runner(part) for part in in_batches(x, batch)]).double()
        check_outputs(output, y)
        check_alone(runner, x, output)
        losses.append(functional.cross_entropy(output, y, reduction="none"))
        correct.append(output.argmax(1) == y)
        regulariser.append(penalty(runner, kind).double())
    if not losses or at.shape != (len(losses),):
        raise ValueError(
            f"got {len(losses)} nets and gammas {tuple(at.shape)}: expected P >= 1 of both"
        )
    return LossCurve(
        at, torch.stack(losses), torch.stack(correct), torch.stack(regulariser), weight
    )


def check_outputs(outputs: Tensor, y: Tensor) -> None:
    """Raises unless y holds a class of the outputs (n, classes) for each sample, and these are
    finite."""
    if outputs.dim() != 2 or y.shape != outputs.shape[:1]:
        raise ValueError(
            f"outputs {tuple(outputs.shape)} and classes {tuple(y.shape)}: expected (n, classes)"
            " and (n,)"
        )
    check_classes(y, outputs.shape[1])
    check_finite("outputs of the net", outputs)
