"""Samples that a squared error of softmax outputs has given up: where they come to rest, and what
each of them costs.

For one sample with label t and p = softmax(z), the loss l = sum_k (p_k - y_k)^2 has

    dl/dz_j = 2 p_j (p_j - y_j - sum_k p_k (p_k - y_k)) .

It vanishes at the corner p = e_t, where l = 0, but also, in the limit p_t -> 0, wherever p is
uniform on s wrong classes: the bracket is then the same for all classes that have any share, and
l = 1 + 1/s. These are saddles at infinity. The true class would gain from every increase of p_t,
yet the slope towards it has the factor p_t, so the sample stays for a time of order 1 / p_t."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Stuck:
    """The stuck samples of one net.

    Args:
        index: which samples, (K,), costliest first.
        classes: s, the number of wrong classes that share each of them, (K,).
        cost: sum_k (p_k - y_k)^2 of each, (K,);  predicted: 1 + 1/s, (K,).
        level: sum of `predicted` over the number of samples and classes: what the mean loss would
            be if all others were fitted.
    """

    index: Tensor
    classes: Tensor
    cost: Tensor
    predicted: Tensor
    level: float


def stuck(output: Tensor, labels: Tensor, share: float = 0.05) -> Stuck:
    """The samples whose true class has a probability below `share`, with their loss and the 1 + 1/s
    it tends to.

    s is 1 / sum_k q_k^2 rounded, q the probabilities of the wrong classes scaled to add up to one.

    Args:
        output: logits of one net, (n, K);  labels: (n,) int64.
        share: in (0, 1).
    Raises:
        ValueError: shapes that do not fit, or a share outside (0, 1).

    >>> found = stuck(torch.tensor([[0.0, 60.0, 60.0], [60.0, 0.0, 0.0]]), torch.tensor([0, 0]))
    >>> found.index.tolist(), found.classes.tolist(), found.cost.tolist(), found.level
    ([0], [2], [1.5], 0.25)
    """
    if output.dim() != 2 or labels.shape != output.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(
            f"outputs {tuple(output.shape)} and labels {tuple(labels.shape)}, {labels.dtype}:"
            " expected (n, K) and (n,), int64"
        )
    if not 0 < share < 1:
        raise ValueError(f"share is {share!r}: expected a probability in (0, 1)")
    p = output.double().softmax(-1)
    one_hot = torch.nn.functional.one_hot(labels, output.shape[1])
    cost = (p - one_hot).square().sum(-1)
    index = ((p * one_hot).sum(-1) < share).nonzero().flatten()
    index = index[cost[index].argsort(descending=True, stable=True)]
    wrong = p[index] * (1 - one_hot[index])
    classes = (1 / (wrong / wrong.sum(-1, keepdim=True)).square().sum(-1)).round().long()
    predicted = 1 + 1 / classes.double()
    return Stuck(index, classes, cost[index], predicted, float(predicted.sum()) / output.numel())
