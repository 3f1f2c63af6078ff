"""Measures of how similar two representations are, which look at the features alone: linear CKA,
SVCCA, regression.

All take features of the same n samples as matrices (n, p) and (n, q), centre them, and lie in [0,
1]."""

from __future__ import annotations

import torch
from torch import Tensor


def as_samples(features: Tensor, samples: str = "positions") -> Tensor:
    """Feature maps as a matrix of samples.

    Args:
        features: (n, channels, rows, columns), or (n, p), which stays as it is.
        samples: "positions", every pixel of every image a sample of channels; or "images", every
            image a sample of channels * rows * columns numbers.
    Raises:
        ValueError: another shape or name.

    >>> as_samples(torch.zeros(2, 3, 4, 5)).shape, as_samples(torch.zeros(2, 3, 4, 5), "images").shape
    (torch.Size([40, 3]), torch.Size([2, 60]))
    """
    if samples not in ("positions", "images"):
        raise ValueError(f"samples are {samples!r}: expected 'positions' or 'images'")
    if features.dim() == 2:
        return features
    if features.dim() != 4:
        raise ValueError(
            f"features are {tuple(features.shape)}: expected (n, p) or (n, channels, rows, columns)"
        )
    return (
        features.flatten(1) if samples == "images" else features.permute(0, 2, 3, 1).flatten(0, 2)
    )


def cka(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment ||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F).

    It does not change when x or y is rotated or scaled, but does under other invertible maps.

    Args:
        x: (n, p);  y: (n, q).
    Raises:
        ValueError: not the same n >= 2, or features that never vary.

    Source: (Kornblith et al. 2019, Eq. 4).

    >>> x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> round(cka(x, x @ torch.tensor([[0.0, 2.0], [-2.0, 0.0]])), 4), round(cka(x, x[:, :1]), 4)
    (1.0, 0.7071)
    """
    x, y = _centred(x, y)
    if max(x.shape[1], y.shape[1]) > len(x):
        kx, ky = x @ x.T, y @ y.T  # the same numbers from n x n matrices
        return ((kx * ky).sum() / (kx.norm() * ky.norm())).item()
    return ((x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())).item()


def cca(x: Tensor, y: Tensor) -> Tensor:
    """The canonical correlations of x and y, in descending order.

    They are the singular values of Q_x^T Q_y, Q orthonormal bases of the centred features.

    Args:
        x: (n, p);  y: (n, q).
    Returns:
        (min(rank x, rank y),), in [0, 1] to rounding.
    Raises:
        ValueError: as `cka`.

    Source: (Hotelling 1936).

    >>> x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> [round(c, 6) for c in cca(x, x @ torch.tensor([[1.0, 2.0], [0.0, 3.0]])).tolist()]
    [1.0, 1.0]
    """
    x, y = _centred(x, y)
    return torch.linalg.svdvals(_basis(x).T @ _basis(y))


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
    return torch.linalg.svdvals(_basis(x, kept).T @ _basis(y, kept)).mean().item()


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
    return ((_basis(x).T @ y).square().sum() / y.square().sum()).item()


def _centred(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    for name, features in (("x", x), ("y", y)):
        if features.dim() != 2 or len(features) < 2 or len(x) != len(y):
            raise ValueError(
                f"x is {tuple(x.shape)} and y {tuple(y.shape)}: expected (n, p) and (n, q), n >= 2"
            )
        if bool((features == features[:1]).all()):
            raise ValueError(
                f"the features {name} are the same for all {len(features)} samples: nothing to"
                " compare"
            )
    return tuple(f.double() - f.double().mean(0) for f in (x, y))


def _basis(centred: Tensor, kept: float = 1.0) -> Tensor:
    """An orthonormal basis (n, r) of the directions that explain that share of the variance, at
    most the rank."""
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
    rank = int((s > s[0] * max(centred.shape) * torch.finfo(centred.dtype).eps).sum())
    share = s.square().cumsum(0) / s.square().sum()
    # the first direction at which the share is reached; rounding must not push it past the last
    needed = rank if kept == 1 else min(rank, int((share < kept).sum()) + 1)
    return u[:, :needed]
