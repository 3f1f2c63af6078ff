"""Refitting the last layer of a net: regularised logistic regression on its features, a convex
problem."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax
from torch import Tensor, nn

from lib.joint.geometry import Geometry
from lib.nets import Chain
from lib.nets.chain import as_chain
from lib.nets.kinds import check_by_sample
from lib.nets.samples import Data, check_alone, check_classes, check_finite, in_batches, whole

Array = NDArray[np.float64]
_OPTIONS = {"maxcor": 20, "ftol": 1e-10, "gtol": 1e-7}


@torch.no_grad()
def refit_top(
    net: Chain | nn.Sequential,
    x: Data,
    y: Tensor | None = None,
    *,
    weight: float = 1.0,
    batch: int = 256,
    steps: int = 500,
) -> Chain:
    """A copy of the net whose last layer minimises cross entropy + weight * l_{1,2} on its own
    features.

    The authors run seven epochs of Adam; the problem is convex, and here it is solved. With w = a -
    b and a, b >= 0 the penalty sum_k (mean_j (a + b)_jk)^2 is smooth, so that L-BFGS-B finds the
    minimum, zeros included. Score the result on other images than it was fitted on.

    Args:
        net: its last layer is fully connected.
        x: images (n, ...) with classes y, int64 (n,); or batches (x, y), such as a DataLoader.
        weight: of the penalty, >= 0;  batch: images at a time;  steps: at most.
    Returns:
        The refitted copy, in eval mode.
    Raises:
        TypeError: a last layer that is not fully connected.
        ValueError: not one class for each image, classes that the net lacks, or weight < 0.
    Source: (Gu et al. 2020, Alg. 2, last step).

    >>> net = Chain([nn.Linear(2, 2)], [])
    >>> x, y = torch.eye(2).repeat(5, 1), torch.tensor([0, 1]).repeat(5)
    >>> better = refit_top(net, x, y, weight=0.01)
    >>> better(torch.eye(2)).argmax(1)
    tensor([0, 1])
    """
    x, y = whole(x, y, labelled=True)
    if not 0 <= weight < np.inf:
        raise ValueError(f"weight is {weight}: expected a finite number >= 0")
    net = copy.deepcopy(as_chain(net)).eval()
    if list(net.after.children()) or not isinstance(net.after, nn.Sequential):
        raise ValueError(f"{net.after} follows the last layer: expected nothing behind it")
    last = net.joint(net.depth)
    if not isinstance(last, nn.Linear):
        raise TypeError(f"the last layer is {type(last).__name__}: expected Linear")
    classes, dtype = Geometry.of(last).outputs, last.weight.dtype
    check_classes(y, classes)
    check_by_sample(net)
    parts = in_batches(x.to(dtype), batch)
    features = torch.cat([net.features(part, net.depth - 1)[-1] for part in parts])
    check_finite("features of the last layer", features)
    check_alone(lambda one: net.features(one, net.depth - 1)[-1], x.to(dtype), features)
    problem = _Logistic(features.double().cpu().numpy(), y.cpu().numpy(), classes, weight)
    w, b = problem.solve(steps, bias=last.bias is not None)
    last.weight.copy_(torch.from_numpy(w))
    if last.bias is not None:
        last.bias.copy_(torch.from_numpy(b))
    return net


class _Logistic:
    """Cross entropy + weight * l_{1,2} of (a - b, bias), as a smooth function of (a, b, bias)."""

    def __init__(self, f: Array, y: NDArray[np.int64], classes: int, weight: float) -> None:
        self.f, self.wanted, self.weight = f, np.eye(classes)[y], weight
        self.shape = classes, f.shape[1]

    def parts(self, v: Array) -> tuple[Array, Array, Array]:
        """a, b (classes, inputs) and the bias."""
        count = self.shape[0] * self.shape[1]
        up, down, bias = np.split(v, [count, 2 * count])
        return up.reshape(self.shape), down.reshape(self.shape), bias

    def cost(self, v: Array) -> tuple[float, Array]:
        """The value and its gradient."""
        up, down, bias = self.parts(v)
        log_p = log_softmax(self.f @ (up - down).T + bias, axis=1)
        size = (up + down).mean(0)
        n = len(self.f)
        error = (np.exp(log_p) - self.wanted) / n
        fit, pull = error.T @ self.f, 2 * self.weight * size / self.shape[0]
        value = -(self.wanted * log_p).sum() / n + self.weight * np.square(size).sum()
        gradient = [(fit + pull).ravel(), (pull - fit).ravel(), error.sum(0)]
        return float(value), np.concatenate(gradient)

    def solve(self, steps: int, *, bias: bool) -> tuple[Array, Array]:
        """The weights and the bias at the minimum; a bias of zero if none is wanted."""
        free = (None, None) if bias else (0.0, 0.0)
        bounds = [(0.0, None)] * (2 * self.shape[0] * self.shape[1]) + [free] * self.shape[0]
        options, start = {"maxiter": steps, **_OPTIONS}, np.zeros(len(bounds))
        found = minimize(
            self.cost, start, jac=True, bounds=bounds, method="L-BFGS-B", options=options
        )
        up, down, offset = self.parts(found.x)
        return up - down, offset
