"""Approximate lifts of minima of tanh nets, whose activation has no affine piece (claims B12 and
B6-tanh)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from experiments.depth.nonlinearity import bending
from experiments.depth.planted import Planted, gradient_norm
from lib.critical import polish
from lib.curvature import Inertia, hessian, inertia
from lib.depth import approximate_lift, lift
from lib.nets import MLP, forward

WIDTH = 3  # neurons of the layer that is put in before the hidden one: more than the two behind it


@dataclass(frozen=True)
class Approximation:
    """An approximate lift of one minimum.

    Args:
        number: of the minimum;  scale: of the inserted weights.
        error: largest output gap on the data;  gradient: Euclidean norm of the risk's gradient.
        smallest: eigenvalue of the Hessian;  form: of K, the limit that theory predicts (NaN
            without a free direction).
    """

    number: int
    scale: float
    error: float
    gradient: float
    smallest: float
    form: float


def approximate(point: Planted, number: int, scale: float, width: int = WIDTH) -> Approximation:
    """Lift a minimum approximately and measure what is lost; `number` is also the seed.

    >>> from experiments.depth.planted import strict_minimum
    >>> draws = torch.Generator().manual_seed(0)
    >>> point = strict_minimum((2, 2, 1), "tanh", samples=60, generator=draws)
    >>> found = approximate(point, 0, 0.01)
    >>> abs(found.smallest / found.form - 1) < 0.01
    True
    """
    net, error = lift_at(point, number, scale, width)
    smallest = torch.linalg.eigvalsh(hessian(net, point.x, point.y))[0]
    free = width > int(torch.linalg.matrix_rank(net.weights[1]))
    form = float(bending(net, point.x, point.y, 1)[0]) if free else float("nan")
    slope = gradient_norm(net, point.x, point.y)
    return Approximation(number, scale, error, slope, float(smallest), form)


def lift_at(point: Planted, number: int, scale: float, width: int = WIDTH) -> tuple[MLP, float]:
    """The approximate lift behind the inputs at one scale, and its output gap."""
    generator = torch.Generator().manual_seed(number)
    found = approximate_lift(point.net, point.x, 0, width, scale=scale, generator=generator)
    return found.net, found.error


@dataclass(frozen=True, eq=False)
class Polished:
    """An approximate lift before and after polishing: gradient norms, signs of the Hessian, and
    whether a critical point was reached."""

    scale: float
    gradient: float
    gradient_after: float
    converged: bool
    before: Inertia
    after: Inertia


def polish_lift(point: Planted, number: int, scale: float) -> Polished:
    """Polish an approximate lift, which Newton-like steps would make exact if a critical point lay
    near."""
    net, _ = lift_at(point, number, scale)
    end = polish(net, point.x, point.y, max_steps=100)
    norms = [gradient_norm(n, point.x, point.y) for n in (net, end.net)]
    signs = [inertia(hessian(n, point.x, point.y), require=False) for n in (net, end.net)]
    return Polished(scale, *norms, bool(end.converged), *signs)


@dataclass(frozen=True, eq=False)
class Exact:
    """An exact lift of a minimum: largest output gap, gradient norm, signs of the Hessian."""

    error: float
    gradient: float
    inertia: Inertia


def exact(point: Planted, generator: torch.Generator) -> Exact:
    """The same lift where the activation has an affine piece."""
    deep = lift(point.net, point.x, 0, WIDTH, generator=generator)
    gap = (forward(deep, point.x) - forward(point.net, point.x)).abs().max()
    signs = inertia(hessian(deep, point.x, point.y))
    return Exact(float(gap), gradient_norm(deep, point.x, point.y), signs)


def order_of(trials: Sequence[Approximation]) -> float:
    """Fitted order of the output gap in the scale."""
    scales, errors = ([getattr(t, name) for t in trials] for name in ("scale", "error"))
    return float(np.polyfit(np.log(scales), np.log(errors), 1)[0])
