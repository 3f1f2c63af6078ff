"""The regulariser of every net of a line in weight space, from one pass over the weights of its
ends."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from lib.nets import Chain
from lib.train.sgd.regulariser import PENALTIES


def penalties(net1: Chain, net2: Chain, at: Tensor, kind: str = "l12") -> Tensor:
    """`lib.train.sgd.penalty` of the nets gamma * theta_1 + (1 - gamma) * theta_2, float64 (P,).

    A sum of squares is a quadratic in gamma. A sum of absolute values is piecewise linear with a
    kink for every weight; there each pair of weights is read once and serves all gammas.

    Args:
        at: the gammas, (P,);  kind: as for `lib.train.sgd.layer_penalties`.
    Raises:
        ValueError: unknown kind.

    >>> from lib.nets import VGG

    >>> from lib.nets import initialise

    >>> from lib.train.sgd import penalty
    >>> a, b = (initialise(VGG(width=1 / 16, side=8, pools=3, hidden=8), generator=s) for s in (0, 1))
    >>> found = penalties(a, b, torch.tensor([0.0, 1.0]))
    >>> torch.allclose(found, torch.stack([penalty(b), penalty(a)]).double())
    True
    """
    if kind not in PENALTIES:
        raise ValueError(f"no penalty {kind!r}: expected {', '.join(PENALTIES)}")
    at, total = at.detach().double().cpu(), torch.zeros(len(at), dtype=torch.float64)
    for layer, joints in enumerate(zip(net1.joints, net2.joints, strict=True), start=1):
        outputs, inputs = joints[0].weight.shape[:2]
        taps = joints[0].weight[0, 0].numel()
        if kind == "l2":
            total += 0.5 * sum(
                _squares(a, b, at) for a, b in zip(*(j.parameters() for j in joints), strict=True)
            )
        elif kind == "l12_paper" and layer == net1.depth:
            total += inputs * _squares(joints[0].weight, joints[1].weight, at)
        elif kind != "none":
            first, second = (
                j.weight.detach().cpu().reshape(outputs, inputs, taps).numpy() for j in joints
            )
            sums = np.zeros((inputs, len(at)))
            _absolute(first, second, at.numpy(), sums)
            mean = (
                torch.from_numpy(sums).div(outputs * taps).square().mean(0)
            )  # of the code's normalisation
            total += mean * inputs * (inputs * taps**2 if kind == "l12_paper" else 1)
    return total


def _squares(first: Tensor, second: Tensor, at: Tensor) -> Tensor:
    a, b = (p.detach().double().cpu().flatten() for p in (first, second))
    return at.square() * (a @ a) + 2 * at * (1 - at) * (a @ b) + (1 - at).square() * (b @ b)


@njit(cache=True, nogil=True)
def _absolute(first, second, at, sums):
    """sums[k, p] += sum over outputs and taps of |gamma_p first + (1 - gamma_p) second|."""
    for j in range(first.shape[0]):
        for k in range(first.shape[1]):
            for s in range(first.shape[2]):
                a, b = np.float64(first[j, k, s]), np.float64(second[j, k, s])
                for p in range(len(at)):
                    sums[k, p] += abs(b + at[p] * (a - b))
