"""A kernel: the closest pair of rows, by Numba, and the same by torch to test it against."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor


def closest(features: Tensor) -> float:
    """The least distance between two rows.

    Args:
        features: float64 (n, m), n >= 2.
    Raises:
        ValueError: fewer than two rows, or another shape or type.

    >>> closest(torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=torch.float64))
    5.0
    """
    if features.dim() != 2 or len(features) < 2 or features.dtype != torch.float64:
        got = f"{features.dtype} {tuple(features.shape)}"
        raise ValueError(f"features are {got}: expected float64 (n, m), n >= 2")
    return float(_closest(np.ascontiguousarray(features.detach().numpy())))


def reference(features: Tensor) -> float:
    """The same in one line that is easy to believe."""
    return float(torch.pdist(features).min())


@njit(nogil=True, cache=True)
def _closest(rows: np.ndarray) -> float:
    least = np.inf
    for i in range(len(rows)):
        for j in range(i):
            square = 0.0
            for k in range(rows.shape[1]):
                square += (rows[i, k] - rows[j, k]) ** 2
                if square >= least:  # already farther than the best: the rest need not be read
                    break
            least = min(least, square)
    return np.sqrt(least)
