"""Images as the pruning chapter feeds them to nets, and what nets predict for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lib.nets import MLP, forward


@dataclass(frozen=True, eq=False)
class Sample:
    """Images for a net without biases.

    Args:
        x: (n, pixels + 1), standardised grey values and a 1, the bias folded into the input;
        y: one-hot targets (n, classes);  labels: (n,) int64.
    """

    x: Tensor
    y: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def standardise(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    mean: float,
    std: float,
    dtype: torch.dtype = torch.float32,
) -> Sample:
    """x~ = [(image - mean) / std, 1], with one mean and one deviation for all pixels.

    Args:
        images: (n, ...) grey values;  labels: (n,) class indices from 0;  mean, std: of the grey
            values, std > 0.
    Raises:
        ValueError: numbers of images and labels differ, or std is not > 0.

    >>> s = standardise(np.array([[[0, 8], [4, 4]]]), np.array([1]), mean=4.0, std=4.0)
    >>> s.x, s.y
    (tensor([[-1.,  1.,  0.,  0.,  1.]]), tensor([[0., 1.]]))
    """
    if len(images) != len(labels) or len(images) == 0:
        raise ValueError(
            f"got {len(images)} images and {len(labels)} labels: expected as many of both, at"
            " least one"
        )
    if not std > 0:
        raise ValueError(f"std is {std!r}: expected > 0, the deviation of the grey values")
    x = (torch.tensor(images.reshape(len(images), -1), dtype=torch.float64) - mean) / std
    x = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
    found = torch.tensor(labels, dtype=torch.int64)
    return Sample(x.to(dtype), torch.nn.functional.one_hot(found).to(dtype), found)


def accuracy(net: MLP, sample: Sample) -> float:
    """Share of the sample whose largest output is the label's.

    >>> s = standardise(np.array([[0.0], [8.0]]), np.array([0, 1]), mean=4.0, std=4.0)
    >>> accuracy(MLP((torch.tensor([[-1.0, 0.0], [1.0, 0.0]]),)), s)
    1.0
    """
    return float((forward(net, sample.x).argmax(-1) == sample.labels).double().mean())


def agreement(a: MLP, b: MLP, sample: Sample) -> Tensor:
    """How often net a predicts class i where net b predicts j: (classes, classes), a distribution;
    its trace is the agreement.

    >>> s = standardise(np.array([[0.0], [8.0]]), np.array([0, 1]), mean=4.0, std=4.0)
    >>> net = MLP((torch.tensor([[-1.0, 0.0], [1.0, 0.0]]),))
    >>> agreement(net, net, s)
    tensor([[0.5000, 0.0000],
            [0.0000, 0.5000]], dtype=torch.float64)
    """
    classes = sample.y.shape[1]
    pairs = forward(a, sample.x).argmax(-1) * classes + forward(b, sample.x).argmax(-1)
    return torch.bincount(pairs, minlength=classes**2).reshape(classes, classes).double() / len(
        sample
    )
