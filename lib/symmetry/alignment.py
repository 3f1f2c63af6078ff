"""How far two nets are apart in weight space, when the channels of one may be reordered to match
the other's."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from lib.nets.chain import Chain, as_chain
from lib.nets.checks import check_index
from lib.nets.flow import check_joint
from lib.nets.samples import check_finite

Order = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Alignment:
    """Layer by layer, how net 2's channels were reordered and what distance is left.

    Args:
        layers: the layers compared, from 1.
        distance: mean squared difference over the mean of the two mean squares, one per layer: 0
            for equal weights, 2 for uncorrelated ones.
        order: for every layer, order[j] is the channel of net 2 that stands in for channel j of
            net 1.
    """

    layers: tuple[int, ...]
    distance: tuple[float, ...]
    order: tuple[Order, ...]


def aligned_distance(net1: nn.Module, net2: nn.Module, layers: int | None = None) -> Alignment:
    """The weight distance of Section D: filters are matched layer after layer by the assignment of
    least distance.

    With the inputs of net 2 in the order pi_(l-1) of the layer before, pi_l minimises
    sum_j || w1_j - w2_pi(j) ||^2 over permutations of the outputs, and the distance is
    mean (w1 - w2_pi)^2 / ((mean w1^2 + mean w2^2) / 2). Biases are not used, as in the authors'
    code.

    Args:
        net1, net2: `Chain`s or nn.Sequentials of the same shapes.
        layers: compare layers 1..layers; by default the convolutions but the last, as the authors
            do (12 of VGG-16).
    Raises:
        ValueError: a number of layers out of range, shapes that differ, or weights that are not
            finite.

    Source: (Gu et al. 2020, Sec. D) and the authors' code.

    >>> from lib.nets import VGG

    >>> from lib.nets import initialise
    >>> net = initialise(VGG(width=1 / 16, hidden=8), generator=0)
    >>> aligned_distance(net, net).distance[:3]
    (0.0, 0.0, 0.0)
    """
    first, second = as_chain(net1), as_chain(net2)
    last = (
        sum(isinstance(joint, nn.Conv2d) for joint in first.joints) - 1
        if layers is None
        else layers
    )
    last = check_index("layers", last)
    if not 1 <= last <= min(first.depth, second.depth):
        raise ValueError(f"layers is {last}: expected 1..{min(first.depth, second.depth)}")
    order = np.arange(first.widths[0])
    distances, orders = [], []
    for layer in range(1, last + 1):
        w1, w2 = (_weights(net, layer) for net in (first, second))
        if w1.shape != w2.shape:
            raise ValueError(
                f"weights of layer {layer} have shapes {w1.shape} and {w2.shape}: expected the same"
            )
        w2 = w2[:, _as_inputs(order, w1.shape[1], layer)]
        w1, w2 = (w.numpy() for w in of_size_one(torch.from_numpy(w1), torch.from_numpy(w2))[:2])
        order = match_rows(torch.from_numpy(w1).flatten(1), torch.from_numpy(w2).flatten(1))
        apart, size = np.mean((w1 - w2[order]) ** 2), (np.mean(w1**2) + np.mean(w2**2)) / 2
        distances.append(float(apart / size) if size > 0 else 0.0)
        orders.append(order)
    return Alignment(tuple(range(1, last + 1)), tuple(distances), tuple(orders))


def _weights(net: Chain, layer: int) -> Weights:
    joint = net.joint(layer)
    check_joint(joint, layer)
    weights: Weights = joint.weight.detach().double().cpu().numpy()
    return weights


def _as_inputs(order: Order, inputs: int, layer: int) -> Order:
    """The order of channels as an order of inputs: flattening makes a run of inputs of each."""
    run, rest = divmod(inputs, len(order))
    if rest:
        raise ValueError(
            f"layer {layer} has {inputs} inputs, the layer before {len(order)} outputs"
        )
    return (order[:, None] * run + np.arange(run)).ravel()


def match_rows(a: Tensor, b: Tensor) -> Order:
    """The order of b's rows that minimises sum_j || a_j - b_order(j) ||^2.

    Args:
        a, b: (rows, columns).
    Raises:
        ValueError: shapes that differ.

    >>> match_rows(torch.eye(3), torch.eye(3)[[2, 0, 1]]).tolist()
    [1, 2, 0]
    """
    if a.shape != b.shape or a.dim() != 2:
        raise ValueError(
            f"rows of shapes {tuple(a.shape)} and {tuple(b.shape)}: expected two equal (rows,"
            " columns)"
        )
    a, b, _ = of_size_one(a, b)
    # || a - b ||^2 = a^2 + b^2 - 2 a.b, and the squares add up to the same for every permutation
    found: Order = linear_sum_assignment(-(a @ b.T).cpu().numpy())[1]
    return found


def of_size_one(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, float]:
    """Both in float64 over one power of two near their largest number, and that power: no square
    overflows or vanishes, and no digit is lost.

    Raises:
        ValueError: numbers that are not finite.

    >>> of_size_one(torch.tensor([3.0]), torch.tensor([-1e-3]))[2]
    4.0
    """
    check_finite("weights", a)
    check_finite("weights", b)
    a, b = a.detach().double(), b.detach().double()
    largest = max(float(t.abs().max()) if t.numel() else 0.0 for t in (a, b))
    power = 2.0 ** min(1023, math.frexp(largest)[1])
    return a / power, b / power, power
