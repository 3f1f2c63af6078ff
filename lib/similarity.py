"""Measures of how similar two representations are, which look at the features alone: linear CKA,
SVCCA, regression.

All take features of the same n samples as matrices (n, p) and (n, q), centre them, and lie in [0,
1]."""

from __future__ import annotations

import torch
from torch import Tensor

from lib.nets.samples import check_finite, check_tensor

__all__ = ["cka", "regression", "svcca"]


def cka(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment ||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F).

    It does not change when x or y is rotated or scaled, but does under other invertible maps.

    Args:
        x: (n, p);  y: (n, q).
    Raises:
        ValueError: not the same n >= 2, numbers that are not finite, or features that never vary.

    Source: (Kornblith et al. 2019, Eq. 4).

    >>> x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> round(cka(x, x @ torch.tensor([[0.0, 2.0], [-2.0, 0.0]])), 4), round(cka(x, x[:, :1]), 4)
    (1.0, 0.7071)
    """
    x, y = _centred(x, y)
    if max(x.shape[1], y.shape[1]) > len(x):
        kx, ky = x @ x.T, y @ y.T  # the same numbers from n x n matrices
        return float((kx * ky).sum() / (kx.norm() * ky.norm()))
    return float((x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm()))


def svcca(x: Tensor, y: Tensor, kept: float = 0.99) -> float:
    """Singular-vector CCA: the mean canonical correlation between the main directions of x and of
    y.

    Args:
        x: (n, p);  y: (n, q).
        kept: share of the variance that the kept directions explain, in (0, 1].
    Raises:
        ValueError: kept out of range, or as `cka`.

    Source: (Raghu et al. 2017).

    >>> x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> round(svcca(x, x.flip(1)), 6)
    1.0
    """
    if not 0 < kept <= 1:
        raise ValueError(f"kept is {kept}: expected a share of the variance in (0, 1]")
    x, y = _centred(x, y)
    return float(torch.linalg.svdvals(_basis(x, kept).T @ _basis(y, kept)).mean())


def regression(x: Tensor, y: Tensor) -> float:
    """How much of y's variance a linear map of x explains: R^2 = ||Q_x^T Y||_F^2 / ||Y||_F^2.

    Args:
        x: (n, p), the features to predict from;  y: (n, q), the features to predict.
    Raises:
        ValueError: as `cka`.

    Source: (Kornblith et al. 2019, Sec. 3).

    >>> x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> round(regression(x[:, :1], x), 6), round(regression(x, x[:, :1]), 6)
    (0.5, 1.0)
    """
    x, y = _centred(x, y)
    return float((_basis(x).T @ y).square().sum() / y.square().sum())


def _centred(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64, centred, the largest entry 1, so that no square overflows or vanishes."""
    check_tensor("x", x)
    check_tensor("y", y)
    if x.dim() != 2 or y.dim() != 2 or len(x) < 2 or len(x) != len(y) or not x.numel() * y.numel():
        raise ValueError(
            f"x is {tuple(x.shape)} and y {tuple(y.shape)}: expected (n, p) and (n, q), n >= 2"
        )
    return _scaled("x", x), _scaled("y", y)


def _scaled(name: str, features: Tensor) -> Tensor:
    check_finite(name, features)
    eps = torch.finfo(features.dtype).eps if features.is_floating_point() else 0.0
    f = features.double()
    largest = f.abs().max()
    f = f / torch.where(largest > 0, largest, 1.0)  # the mean of huge numbers would overflow too
    f = f - f.mean(0)
    spread = f.abs().max()
    if not spread > 4 * eps:
        raise ValueError(
            f"the features {name} are the same for all {len(f)} samples: nothing to compare"
        )
    return f / spread


def _basis(centred: Tensor, kept: float = 1.0) -> Tensor:
    """An orthonormal basis (n, r) of the directions that explain that share of the variance, at
    most the rank."""
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
    rank = int((s > s[0] * max(centred.shape) * torch.finfo(centred.dtype).eps).sum())
    share = s.square().cumsum(0) / s.square().sum()
    # the first direction at which the share is reached; rounding must not push it past the last
    needed = rank if kept == 1 else min(rank, int((share < kept).sum()) + 1)
    basis: Tensor = u[:, :needed]
    return basis
