"""The objective of Gu et al. (2020) in the variables (w~, p, u~), its linear constraints and their
violation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.convex.space import Point, Space
from lib.nets import Loss, mse


@dataclass(frozen=True)
class Terms:
    """Q = J + sum_l lambda^(l) R^(l) + lambda^(u) R^(u).

    Args:
        loss: J;  layers: R^(1..L), not weighted;  top: R^(u), not weighted;  total: Q.
    """

    loss: float
    layers: tuple[float, ...]
    top: float
    total: float


def perspective(numerator: Tensor, mass: Tensor) -> Tensor:
    """s^2 / p, continued to p = 0: 0 where s = 0 and infinity where s != 0 (the closure of a
    perspective function).

    Args:
        numerator: s;  mass: p >= 0, same shape.
    Raises:
        ValueError: a negative mass.

    >>> perspective(torch.tensor([2.0, 0.0, 1.0]), torch.tensor([2.0, 0.0, 0.0]))
    tensor([2., 0., inf])
    """
    if (mass < 0).any():
        raise ValueError(f"smallest mass is {float(mass.min()):g}: expected >= 0")
    empty = torch.where(numerator == 0, 0.0, torch.inf)
    return torch.where(mass > 0, numerator.square() / torch.where(mass > 0, mass, 1.0), empty)


def output(space: Space, point: Point) -> Tensor:
    """f(x_i) = sum_v h(v_i) u~(v) + c, (N, K): linear in u~.

    Raises:
        ValueError: the output layer leaves positions, so that there is no single vector an input.
    """
    f = space.stages[-1].linear(space.stages[-1].before(space.atoms[-1]), point.u)
    if f.flatten(1).shape[1] != f.shape[1]:
        raise ValueError(
            f"the output layer gives {tuple(f.shape)}: expected (N, K), one vector an input"
        )
    return f.flatten(1) + point.c


def penalties(space: Space, point: Point) -> tuple[tuple[Tensor, ...], Tensor]:
    """R^(l) = sum_k (sum_j || w~_jk ||_1)^2 / p^(l-1)_k and R^(u) = sum_j || u~_j ||^2 / p^(L)_j.

    Returns:
        R^(1..L) and R^(u), not weighted.
    Source: (Gu et al. 2020, Eq. 4 with the change of variables of Eq. 5).
    """
    channels = space.sizes[0]
    before = torch.full((channels,), 1 / channels, dtype=torch.float64)
    layers = []
    for p, w in zip(point.p, point.w, strict=True):
        layers.append(perspective(w.abs().sum((0, 2)), before).sum())
        before = p
    return tuple(layers), perspective(point.u.square().sum((0, 2)).sqrt(), before).sum()


def convex_objective(
    space: Space, point: Point, y: Tensor, *, strength: Sequence[float], loss: Loss = mse
) -> Terms:
    """Q(w~, p, u~) = J(f) + sum_l lambda^(l) R^(l) + lambda^(u) R^(u), jointly convex (Theorem 1).

    Args:
        y: targets for `loss`;  loss: of the output (N, K), convex in it.
        strength: (lambda^(1), ..., lambda^(L), lambda^(u)), each >= 0.
    Returns:
        The value and its terms; infinite when weights sit on an atom without mass.
    Raises:
        ValueError: a strength too many, too few or negative; a negative mass.
    Source: (Gu et al. 2020, Thm 1).

    >>> import torch
    >>> from lib.convex import from_net
    >>> from lib.nets import MLP
    >>> eye, x = torch.eye(2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    >>> at = from_net(MLP((eye, eye[:1]), activation="relu"), x)
    >>> terms = convex_objective(*at, torch.zeros(1, 1), strength=(1, 0.5))
    >>> terms.loss, terms.layers, terms.top, terms.total
    (1.0, (1.0,), 2.0, 3.0)
    """
    check_strength(space, strength)
    layers, top = penalties(space, point)
    j = loss(output(space, point), y)
    total = j + sum(s * r for s, r in zip(strength, (*layers, top), strict=True))
    return Terms(float(j), tuple(float(r) for r in layers), float(top), float(total))


def violation(space: Space, point: Point) -> float:
    """The largest violation of the constraints of Theorem 1, each relative to the size of its
    terms.

    sum_k h(v_k) * w~_jk + b~_j = v_j p_j in every layer,  sum_j p_j = 1,  p >= 0.

    Returns:
        0 for a feasible point, up to rounding.
    """
    worst = 0.0
    for layer, (p, w, b, v) in enumerate(
        zip(point.p, point.w, point.b, space.atoms, strict=True), start=1
    ):
        stage, below = space.stages[layer - 1], space.below(layer)
        shape = (1, -1, *(1,) * (v.dim() - 2))
        left = stage.linear(stage.before(below), w) + b.reshape(shape)
        right = v * p.reshape(shape)
        scale = float(right.abs().max()) or 1.0
        worst = max(
            worst,
            float((left - right).abs().max()) / scale,
            abs(float(p.sum()) - 1),
            -float(p.min()),
        )
    return worst


def check_strength(space: Space, strength: Sequence[float]) -> None:
    """Refuse a list of regularisation strengths that is not one finite number >= 0 for each hidden
    layer and one for the output."""
    if len(strength) != space.depth + 1 or not all(0 <= s < math.inf for s in strength):
        raise ValueError(
            f"strengths are {tuple(strength)}: expected {space.depth + 1} numbers >= 0, "
            "one for each hidden layer and one for the output"
        )
