"""How far a curve is from convex: its height above the chord and its smallest second difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lib.nets.samples import check_finite

Numbers = Tensor | np.ndarray[Any, Any] | Sequence[float]


@dataclass(frozen=True)
class Barrier:
    """Two measures of a curve on a grid.

    Args:
        height: the largest excess over the chord between the ends, >= 0;  at: where, in [0, 1].
        second: the smallest second difference Q(g - h) - 2 Q(g) + Q(g + h), negative where the
            curve is concave.
    """

    height: float
    at: float
    second: float


def excess(gammas: Tensor, values: Tensor) -> Tensor:
    """Curve minus chord, (*, P): <= 0 everywhere on a convex curve.

    Args:
        gammas: (P,), increasing;  values: (*, P).

    >>> excess(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([1.0, 3.0, 2.0]))
    tensor([0.0000, 1.5000, 0.0000])
    """
    if not len(gammas) > 1 or not gammas[-1] > gammas[0]:
        raise ValueError(f"gammas are {gammas.tolist()}: a chord needs two ends, rising")
    share = (gammas - gammas[0]) / (gammas[-1] - gammas[0])
    return values - ((1 - share) * values[..., :1] + share * values[..., -1:])


def second_differences(values: Tensor) -> Tensor:
    """Q(g - h) - 2 Q(g) + Q(g + h) at the inner points, (*, P - 2)."""
    return values[..., :-2] - 2 * values[..., 1:-1] + values[..., 2:]


def barrier(gammas: Numbers, values: Numbers) -> Barrier:
    """The barrier measures of one curve.

    Args:
        gammas: (P,), increasing and evenly spaced, P >= 3;  values: (P,), finite.
    Raises:
        ValueError: fewer than three points, uneven ones, values of another shape or not finite.

    >>> barrier(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([1.0, 3.0, 2.0]))
    Barrier(height=1.5, at=0.5, second=-3.0)
    """
    at, curve = (torch.as_tensor(v, dtype=torch.float64) for v in (gammas, values))
    check_grid(at, curve)
    over = excess(at, curve)
    highest = int(over.argmax())
    second = float(second_differences(curve).min())
    return Barrier(float(over[highest]), float(at[highest]), second)


def check_grid(gammas: Tensor, values: Tensor) -> None:
    """Raises ValueError unless the values (P,) stand on an even, increasing grid of P >= 3."""
    if gammas.dim() != 1 or len(gammas) < 3 or values.shape != gammas.shape:
        raise ValueError(
            f"{tuple(gammas.shape)} gammas, {tuple(values.shape)} values: expected (P,) of both, P"
            " >= 3"
        )
    check_finite("values of the curve", values)
    steps = gammas.diff()
    if not (steps > 0).all() or not torch.allclose(steps, steps.mean().expand_as(steps), rtol=1e-6):
        raise ValueError(
            "gammas are not increasing and evenly spaced: second differences need an even grid"
        )
