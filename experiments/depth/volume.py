"""How much of parameter space is linearised on the data: Monte Carlo volumes of lifted manifolds as
data grow."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor

from lib.nets import Activation
from lib.nets.activations import get


def one_piece_probability(
    f: Tensor,
    sizes: list[int],
    activation: str | Activation,
    *,
    generator: torch.Generator,
    draws: int = 100_000,
) -> Tensor:
    """P(the first n points lie in one affine piece of a random neuron sigma(w f + b)) for each n:
    (len(sizes),).

    w and b are standard normal; the same neurons serve every n, so the estimates never increase. A
    layer of width m of independent such neurons is linearised with the m-th power of it.

    Args:
        f: the points (n, m_q), in the order in which the sample grows;  sizes: numbers of points,
            each in 1..n.
        draws: random neurons; the standard error is at most 1 / (2 sqrt(draws)).
    Raises:
        ValueError: a size outside 1..n, draws < 1, or an activation without affine piece.

    >>> g = torch.Generator().manual_seed(0)
    >>> one_piece_probability(torch.zeros(3, 2), [1, 3], "leaky_relu", draws=100, generator=g)
    tensor([1., 1.])
    """
    sigma = get(activation)
    if not sigma.pieces:
        raise ValueError(f"{sigma!r} has no affine piece: the probability is 0")
    if draws < 1:
        raise ValueError(f"draws is {draws}: expected >= 1")
    for n in sizes:
        if not 1 <= n <= f.shape[0]:
            raise ValueError(f"size {n} outside 1..{f.shape[0]}, the number of points")
    weight = torch.randn(f.shape[1], draws, generator=generator, dtype=f.dtype)
    bias = torch.randn(draws, generator=generator, dtype=f.dtype)
    low, high = torch.full_like(bias, torch.inf), torch.full_like(bias, -torch.inf)
    shares, done = {}, 0
    for n in sorted(set(sizes)):
        z = f[done:n] @ weight + bias
        low, high, done = torch.minimum(low, z.amin(0)), torch.maximum(high, z.amax(0)), n
        inside = torch.stack([(low > p.low) & (high < p.high) for p in sigma.pieces]).any(0)
        shares[n] = inside.to(f.dtype).mean()
    return torch.stack([shares[n] for n in sizes])


def in_hull(points: Tensor, cloud: Tensor) -> Tensor:
    """Whether each point is a convex combination of the cloud's points: bool (k,), by linear
    programming.

    Affine pieces are intervals, so a neuron that holds the cloud in one piece holds its hull in it:
    points for which this is true do not shrink a lifted manifold.

    Args:
        points: (k, m);  cloud: (n, m), n >= 1.
    Raises:
        ValueError: the widths differ or the cloud is empty.

    >>> cloud = torch.tensor([[0.0, 0.0], [1.4, 0.0], [0.0, 1.4]])
    >>> in_hull(torch.tensor([[0.5, 0.5], [1.0, 1.0]]), cloud)
    tensor([ True, False])
    """
    if (
        points.dim() != 2
        or cloud.dim() != 2
        or points.shape[1] != cloud.shape[1]
        or cloud.shape[0] == 0
    ):
        raise ValueError(
            f"points {tuple(points.shape)} and cloud {tuple(cloud.shape)}: expected (k, m) and (n"
            " >= 1, m)"
        )
    hull = np.vstack([cloud.numpy().T, np.ones(len(cloud))])
    cost = np.zeros(len(cloud))
    answers = [
        linprog(cost, A_eq=hull, b_eq=np.append(p.numpy(), 1.0), bounds=(0, None)).status
        for p in points
    ]
    return torch.tensor([status == 0 for status in answers], dtype=torch.bool)
