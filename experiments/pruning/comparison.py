"""Merging against its rivals on one trained net: what accuracy is left, of how many weights, at
what cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from experiments.pruning.rivals import CRITERIA, magnitude_prune, rewind, torch_pruning
from experiments.pruning.samples import Sample, accuracy
from experiments.pruning.training import n_weights, train
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


def compare(  # noqa: PLR0913
    start: MLP,
    dense: MLP,
    work: float,
    sample: Sample,
    test: Sample,
    *,
    cosines: Sequence[float],
    amplitude: float,
    fine_tune: int,
    epochs: int,
    lr: float,
    loss: Loss,
    tickets: Sequence[float] = (),
    criteria: Sequence[str] = tuple(CRITERIA),
    seed: int = 0,
) -> tuple[Point, ...]:
    """Every method at the sizes that merging gives.

    Args:
        start, dense: a net at initialisation and trained;  work: multiply-adds of that training.
        sample, test: for training and for accuracy.
        cosines, amplitude: of the merges; each sets a size for all methods.
        fine_tune: epochs of training after pruning, reported without and with.
        epochs: of the methods that train from the start: narrow nets, and tickets at the cosines
            named in `tickets`, which cost as much as the dense net.
        lr, loss: of Adam.
        criteria: of Torch-Pruning;  seed: of what is random.

    >>> import numpy as np
    >>> from experiments.pruning.samples import standardise
    >>> from lib.nets import mse
    >>> s = standardise(np.eye(6), np.arange(6) % 2, mean=0.2, std=0.4)
    >>> net = init((7, 5, 2), "relu", bias=False, dtype=torch.float32, generator=0)
    >>> found = compare(net, net, 0.0, s, s, cosines=[0.5], amplitude=0.0, fine_tune=2, epochs=3, lr=0.1, loss=mse, criteria=())
    >>> [(p.method, p.trained) for p in found]
    [('dense', 0), ('merge', 0), ('merge', 2), ('magnitude', 0), ('magnitude', 2), ('narrow', 3)]
    """  # noqa: E501
    points = [_point("dense", 1.0, dense, None, 0, work, sample, test, loss)]
    for cosine in cosines:
        small = merge_neurons(dense, cosine, amplitude).net
        weights = n_weights(small)
        pruned = {"merge": (small, None)}
        magnitude = magnitude_prune(dense, weights)
        pruned["magnitude"] = (magnitude.net, magnitude.mask)
        for name in criteria:
            net = torch_pruning(dense, small.widths, name, sample.x, sample.y, loss, seed=seed)
            pruned[f"torch-pruning {name.removesuffix('Importance')}"] = (net, None)
        for method, (net, mask) in pruned.items():
            run = train(
                net, sample.x, sample.y, steps=fine_tune, lr=lr, loss=loss, mask=mask, records=2
            )
            points.append(_point(method, cosine, net, mask, 0, work, sample, test, loss))
            points.append(
                _point(
                    method, cosine, run.net, mask, fine_tune, work + run.work, sample, test, loss
                )
            )
        generator = torch.Generator().manual_seed(seed)
        std = float(start.weights[0].std())
        fresh = init(
            small.widths,
            start.activation,
            std=std,
            bias=False,
            generator=generator,
            dtype=start.dtype,
        )
        contenders = [("narrow", fresh, None, 0.0)]
        if cosine in tickets:
            ticket = rewind(start, dense, weights)
            contenders.append(("ticket", ticket.net, ticket.mask, work))
        for method, net, mask, before in contenders:
            run = train(
                net, sample.x, sample.y, steps=epochs, lr=lr, loss=loss, mask=mask, records=2
            )
            points.append(
                _point(method, cosine, run.net, mask, epochs, before + run.work, sample, test, loss)
            )
    return tuple(points)


def _point(  # noqa: PLR0913
    method: str,
    cosine: float,
    net: MLP,
    mask: MLP | None,
    trained: int,
    work: float,
    sample: Sample,
    test: Sample,
    loss: Loss,
) -> Point:
    value = float(risk(net, sample.x, sample.y, loss))
    return Point(method, cosine, n_weights(net, mask), trained, accuracy(net, test), value, work)
