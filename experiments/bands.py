"""How much of a barrier is the choice of images: curves and their measures on resampled images; and
curves as columns of a file."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from lib.mixture.barriers import check_grid, excess, second_differences
from lib.mixture.curve import LossCurve


@dataclass(frozen=True, eq=False)
class Bands:
    """Bootstrap over the images: the curve and its measures on resampled data.

    Args:
        low, high: pointwise band of the overall loss, (P,).
        height, second: (low, high) of the two measures of `lib.mixture.barrier`.
        level: of all bands, e.g. 0.9.
    """

    low: Tensor
    high: Tensor
    height: tuple[float, float]
    second: tuple[float, float]
    level: float


def bootstrap(curve: LossCurve, *, draws: int = 200, level: float = 0.9, seed: int) -> Bands:
    """Resample the images with replacement and measure again: how much of a barrier is the choice
    of images.

    Every net of the curve sees the same images in each draw, so differences along it keep their
    correlation.

    Args:
        curve: with the losses of every image;  draws: >= 2;  level: of the bands, in (0, 1);  seed:
            of the draws.
    Returns:
        Bands between the quantiles (1 - level) / 2 and (1 + level) / 2.
    Raises:
        ValueError: draws or level out of range, or a curve that `barrier` refuses.
    """
    if draws < 2 or not 0 < level < 1:
        raise ValueError(f"draws is {draws}, level {level}: expected >= 2 and in (0, 1)")
    check_grid(curve.gammas, curve.overall)
    n = curve.losses.shape[1]
    generator = torch.Generator().manual_seed(seed)
    picked = torch.randint(0, n, (draws, n), generator=generator)
    times = torch.zeros(draws, n, dtype=torch.float64)
    times.scatter_add_(1, picked, torch.ones_like(times))
    curves = times @ curve.losses.double().mT / n + curve.weight * curve.regulariser  # (draws, P)
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = curves.quantile(ends, 0)
    height = excess(curve.gammas, curves).amax(1).quantile(ends).tolist()
    second = second_differences(curves).amin(1).quantile(ends).tolist()
    return Bands(low, high, (height[0], height[1]), (second[0], second[1]), level)


def to_columns(curve: LossCurve) -> dict[str, object]:
    """The numbers of a curve as lists, for a file; `from_columns` takes them back.

    >>> losses, at = torch.zeros(3, 2), torch.linspace(0, 1, 3)
    >>> curve = LossCurve(at, losses, losses > 0, torch.zeros(3))
    >>> to_columns(from_columns(to_columns(curve))) == to_columns(curve)
    True
    """
    values = {f.name: getattr(curve, f.name) for f in fields(curve)}
    return {name: v.tolist() if isinstance(v, Tensor) else v for name, v in values.items()}


def from_columns(columns: dict[str, object]) -> LossCurve:
    """The curve with the given columns, in float64."""
    kinds = {"correct": torch.bool}
    values = {
        name: torch.tensor(v, dtype=kinds.get(name, torch.float64)) if isinstance(v, list) else v
        for name, v in columns.items()
    }
    return LossCurve(**values)
