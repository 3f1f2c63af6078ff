"""Refitting the last layer of a net: regularised logistic regression on its features, a convex
problem."""

from __future__ import annotations

import copy

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from torch import Tensor

from lib.nets import Chain


def refit_top(
    net: Chain,
    images: Tensor,
    labels: Tensor,
    *,
    weight: float = 1.0,
    batch: int = 256,
    steps: int = 500,
) -> Chain:
    """A copy of the net whose last layer minimises cross entropy + weight * l_{1,2} on its own
    features.

    The authors run seven epochs of Adam; the problem is convex, and here it is solved. With w = a -
    b and a, b >= 0 the penalty sum_k (mean_j (a + b)_jk)^2 is smooth, so that L-BFGS-B finds the
    minimum, zeros included.

    Args:
        images, labels: the training set;  weight: of the penalty, >= 0;  batch: images at a time;
            steps: at most.
    Returns:
        The refitted copy, in eval mode.
    Raises:
        ValueError: images and labels of different number, or weight < 0.
    Source: (Gu et al. 2020, Alg. 2, last step).

    >>> from torch import nn
    >>> net = Chain([nn.Linear(2, 2)], [])
    >>> better = refit_top(net, torch.eye(2).repeat(5, 1), torch.tensor([0, 1]).repeat(5), weight=0.01)
    >>> better(torch.eye(2)).argmax(1)
    tensor([0, 1])
    """
    if len(images) != len(labels) or not weight >= 0:
        raise ValueError(
            f"{len(images)} images, {len(labels)} labels, weight {weight}: expected as many of"
            " both, and >= 0"
        )
    net = copy.deepcopy(net).eval()
    last = net.joint(net.depth)
    with torch.no_grad():
        parts = [
            net.features(x, net.depth - 1)[-1] if net.depth > 1 else x
            for x in images.float().split(batch)
        ]
        features = torch.cat(parts).double().numpy()
    w, b = _logistic(features, labels.numpy(), last.weight.shape[0], weight, steps)
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(w))
        last.bias.copy_(torch.from_numpy(b))
    return net


def _logistic(f: np.ndarray, labels: np.ndarray, classes: int, weight: float, steps: int):
    n, inputs = f.shape
    wanted = np.eye(classes)[labels]

    def cost(v: np.ndarray) -> tuple[float, np.ndarray]:
        up, down, bias = np.split(v, [classes * inputs, 2 * classes * inputs])
        up, down = up.reshape(classes, inputs), down.reshape(classes, inputs)
        log_p = log_softmax(f @ (up - down).T + bias, axis=1)
        size = (up + down).mean(0)
        error = (np.exp(log_p) - wanted) / n
        fit, pull = error.T @ f, 2 * weight * size / classes
        value = -(wanted * log_p).sum() / n + weight * np.square(size).sum()
        return value, np.concatenate([(fit + pull).ravel(), (pull - fit).ravel(), error.sum(0)])

    bounds = [(0, None)] * (2 * classes * inputs) + [(None, None)] * classes
    options = {"maxiter": steps, "maxcor": 20, "ftol": 1e-12, "gtol": 1e-8}
    found = minimize(
        cost, np.zeros(len(bounds)), jac=True, bounds=bounds, method="L-BFGS-B", options=options
    ).x
    up, down, bias = np.split(found, [classes * inputs, 2 * classes * inputs])
    return (up - down).reshape(classes, inputs), bias
