"""How far a curve is from convex: its height above the chord, its smallest second difference, and
both resampled."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib.mixture.curve import Path


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


@dataclass(frozen=True, eq=False)
class Bands:
    """Bootstrap over the images: the curve and its measures on resampled data.

    Args:
        low, high: pointwise band of the overall loss, (P,).
        height, second: (low, high) of the two measures of `Barrier`.
        level: of all bands, e.g. 0.9.
    """

    low: Tensor
    high: Tensor
    height: tuple[float, float]
    second: tuple[float, float]
    level: float


def excess(gammas: Tensor, values: Tensor) -> Tensor:
    """Curve minus chord, (*, P): <= 0 everywhere on a convex curve.

    Args:
        gammas: (P,), increasing;  values: (*, P).

    >>> excess(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([1.0, 3.0, 2.0]))
    tensor([0.0000, 1.5000, 0.0000])
    """
    share = (gammas - gammas[0]) / (gammas[-1] - gammas[0])
    return values - ((1 - share) * values[..., :1] + share * values[..., -1:])


def barrier(gammas: Tensor, values: Tensor) -> Barrier:
    """The barrier measures of one curve.

    Args:
        gammas: (P,), increasing and evenly spaced, P >= 3;  values: (P,).
    Raises:
        ValueError: fewer than three points, uneven ones, or values of another shape.

    >>> barrier(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([1.0, 3.0, 2.0]))
    Barrier(height=1.5, at=0.5, second=-3.0)
    """
    _check(gammas, values)
    over = excess(gammas, values)
    return Barrier(float(over.max()), float(gammas[over.argmax()]), float(_second(values).min()))


def bootstrap(path: Path, *, draws: int = 200, level: float = 0.9, seed: int = 0) -> Bands:
    """Resample the images with replacement and measure again: how much of a barrier is the choice
    of images.

    Every net of the path sees the same images in each draw, so differences along the path keep
    their correlation.

    Args:
        path: with the losses of every image;  draws: >= 2;  level: of the bands, in (0, 1);  seed:
            of the draws.
    Returns:
        Bands between the quantiles (1 - level) / 2 and (1 + level) / 2.
    Raises:
        ValueError: draws or level out of range, or a path that `barrier` refuses.
    """
    if draws < 2 or not 0 < level < 1:
        raise ValueError(f"draws is {draws}, level {level}: expected >= 2 and in (0, 1)")
    _check(path.gammas, path.overall)
    n = path.losses.shape[1]
    generator = torch.Generator().manual_seed(seed)
    picked = torch.randint(0, n, (draws, n), generator=generator)
    times = torch.zeros(draws, n, dtype=torch.float64).scatter_add_(
        1, picked, torch.ones(draws, n, dtype=torch.float64)
    )
    curves = times @ path.losses.double().mT / n + path.weight * path.regulariser  # (draws, P)
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = curves.quantile(ends, 0)
    height = excess(path.gammas, curves).amax(1).quantile(ends).tolist()
    second = _second(curves).amin(1).quantile(ends).tolist()
    return Bands(low, high, (height[0], height[1]), (second[0], second[1]), level)


def _second(values: Tensor) -> Tensor:
    return values[..., :-2] - 2 * values[..., 1:-1] + values[..., 2:]


def _check(gammas: Tensor, values: Tensor) -> None:
    if gammas.dim() != 1 or len(gammas) < 3 or values.shape != gammas.shape:
        raise ValueError(
            f"{tuple(gammas.shape)} gammas, {tuple(values.shape)} values: expected (P,) of both, P"
            " >= 3"
        )
    steps = gammas.diff()
    if not (steps > 0).all() or not torch.allclose(steps, steps.mean().expand_as(steps), rtol=1e-6):
        raise ValueError(
            "gammas are not increasing and evenly spaced: second differences need an even grid"
        )
