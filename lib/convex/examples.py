"""Two small nets that show why the original form is not convex, and where Theorem 1 leaks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lib.nets import MLP


def swapped_neurons() -> tuple[MLP, MLP, Tensor, Tensor]:
    """Two nets, equal but for the order of their neurons, between which the objective in the
    weights has a barrier.

    f(x) = relu(x) + relu(-x) = |x| with the neurons in either order. The midpoint of the weights
    has w = 0, so f = 0: the loss rises from 0 to mean y^2. As distributions of features both nets
    are the same point, and so is any mixture.

    Returns:
        (first, second, x, y), float64; y = |x| on five points.
    Source: (derived; the paper only states that the original form is not convex).

    >>> from lib.nets import risk
    >>> first, second, x, y = swapped_neurons()
    >>> middle = MLP([(a + b) / 2 for a, b in zip(first.weights, second.weights)], activation="relu")
    >>> [float(risk(net, x, y)) for net in (first, middle, second)]
    [0.0, 0.5, 0.0]
    """
    x = torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None]
    w = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    u = torch.ones(1, 2, dtype=torch.float64)
    return MLP((w, u), activation="relu"), MLP((-w, u), activation="relu"), x, x.abs()


def escaping_mass(width: int, *, slope: float = 1.0) -> MLP:
    """A ReLU net of one live neuron among `width` that computes slope * relu(x) with a vanishing
    regulariser.

    One neuron in the paper's scaling has w = m s and u = slope / s, so that f = (1/m) u relu(w x) =
    slope * relu(x), R^(1) = (w / m)^2 = s^2 and R^(u) = u^2 / m = slope^2 / (m s^2). At s^4 =
    slope^2 / m their sum is

    R^(1) + R^(u) = 2 slope / sqrt(m),

    which goes to 0: for an unbounded homogeneous activation the infimum of Theorem 1's programme is
        not attained. Its
    mass escapes to infinite features. A bounded activation (tanh), or a bounded set of atoms,
    forbids it.

    Args:
        width: m >= 1;  slope: > 0.
    Returns:
        The net in ordinary scaling, 1-m-1 without biases, float64.
    Raises:
        ValueError: width < 1 or slope <= 0.
    Source: (derived; not in the paper).

    >>> from lib.nets import forward
    >>> x = torch.tensor([[-2.0], [3.0]], dtype=torch.float64)
    >>> forward(escaping_mass(100), x).flatten().round(decimals=12).tolist()
    [0.0, 3.0]
    """
    if width < 1 or not slope > 0:
        raise ValueError(f"width is {width}, slope {slope}: expected width >= 1 and slope > 0")
    s = math.sqrt(slope) / width**0.25
    w, u = (torch.zeros(shape, dtype=torch.float64) for shape in ((width, 1), (1, width)))
    w[0, 0], u[0, 0] = (
        width * s,
        slope / (s * width),
    )  # one input channel: the paper's w is the ordinary one
    return MLP((w, u), activation="relu")
