"""Tensors as balls of real numbers (`arb` of python-flint), and the activations on balls.

A float64 is a rational number, and enters as it is: no rounding lies between the data and a proof.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flint
from torch import Tensor

from lib.nets import Activation

Ball = Any  # flint.arb, which has no types
Matrix = Any  # flint.arb_mat


def ball(number: float, radius: float = 0.0) -> Ball:
    """All reals within `radius` of a float, both taken as they are.

    >>> ball(0.5, 0.25).contains(flint.arb("0.7")), ball(0.5).is_exact()
    (True, True)
    """
    return flint.arb(number, radius) if radius else flint.arb(number)


def matrix(values: Tensor, radius: float = 0.0) -> Matrix:
    """A tensor (n, m) as a matrix of balls of one radius."""
    rows = [[ball(v, radius) for v in row] for row in values.tolist()]
    return flint.arb_mat(rows)


def norm(entries: Sequence[Ball]) -> float:
    """A float that bounds every |entry| from above, inf where one is not finite.

    >>> norm([ball(-2.0, 0.5), ball(1.0)]) >= 2.5
    True
    """
    return max((upper(abs(entry)) for entry in entries), default=0.0)


def upper(entry: Ball) -> float:
    """A float above every number of a ball.

    >>> upper(ball(-1.0) / 3) > -1 / 3 - 1e-12
    True
    """
    if not entry.is_finite():
        return float("inf")
    nearest = float(entry.upper())  # off by at most half a unit in the last place
    return nearest + abs(nearest) * 2**-50 + 5e-324


def _tanh(t: Ball) -> tuple[Ball, Ball, Ball]:
    s = t.tanh()
    slope = 1 - s * s
    return s, slope, -2 * s * slope


def _sigmoid(t: Ball) -> tuple[Ball, Ball, Ball]:
    s = 1 / (1 + (-t).exp())
    slope = s * (1 - s)
    return s, slope, slope * (1 - 2 * s)


def _identity(t: Ball) -> tuple[Ball, Ball, Ball]:
    return t, flint.arb(1), flint.arb(0)


def _kinked(low: Callable[[Ball], tuple[Ball, Ball, Ball]]) -> Callable[[Ball], Any]:
    def jet(t: Ball) -> tuple[Ball, Ball, Ball]:
        if t.contains(0):
            raise ValueError(
                f"a pre-activation lies within {t.str(5)} of the kink at 0, where the loss has no"
                " Hessian: nothing can be certified there"
            )
        return _identity(t) if t > 0 else low(t)

    return jet


def jets(activation: Activation) -> Callable[[Ball], tuple[Ball, Ball, Ball]]:
    """The function t -> (sigma(t), sigma'(t), sigma''(t)) on balls.

    Raises (the function): ValueError where a ball holds the kink of a piecewise activation.

    >>> from lib.nets.activations import get
    >>> [bool(v.contains(w)) for v, w in zip(jets(get("tanh"))(ball(0.0)), (0, 1, 0))]
    [True, True, True]
    """
    if activation.name in SMOOTH:
        return SMOOTH[activation.name]
    scale = 0.0 if activation.parameter is None else activation.parameter

    def below(t: Ball) -> tuple[Ball, Ball, Ball]:
        if activation.name == "elu":
            grown = scale * t.exp()
            return grown - scale, grown, grown
        return scale * t, ball(scale), flint.arb(0)

    return _kinked(below)


SMOOTH = {"tanh": _tanh, "sigmoid": _sigmoid, "identity": _identity}
