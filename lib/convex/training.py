"""Gradient descent on the ordinary, finitely wide net of one hidden layer, under the objective of
Theorem 1."""

from __future__ import annotations

import torch
from torch import Tensor

from lib.convex.two_layer import TwoLayer


def value(problem: TwoLayer, w: Tensor, u: Tensor) -> Tensor:
    """Q of nets of m neurons: p = (1/m) sum of deltas at (w_j, u_j).

    Args:
        w: (*batch, m, C);  u: (*batch, m, K).
    Returns:
        (*batch,).

    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> float(value(TwoLayer(one, torch.tanh(one), (1.0, 1.0)), one, one))
    2.0
    """
    first, top = problem.strength
    f = (problem.features(w).mT @ u) / w.shape[-2]
    fit = (f - problem.y).square().mean((-2, -1))
    return fit + first * w.abs().mean(-2).square().mean(-1) + top * u.square().sum(-1).mean(-1)


def train(
    problem: TwoLayer,
    width: int,
    *,
    nets: int,
    steps: int,
    rate: float,
    generator: torch.Generator,
    spread: float = 4.0,
) -> tuple[Tensor, Tensor]:
    """Plain (sub)gradient descent of many nets of one width, independently, in the paper's scaling.

    theta_{t+1} = theta_t - rate (1 - t / steps) m grad Q: the factor m gives every neuron a step of
    its own size, as the mean-field limit has it; the falling rate settles the |w| terms, whose
    slope jumps at 0.

    Args:
        width: m;  nets: how many;  steps, rate: of descent.
        spread: standard deviation of the first w; u starts at N(0, 1).
    Returns:
        w (nets, m, C) and u (nets, m, K).
    Raises:
        ValueError: a number that is not positive, or divergence.

    >>> x = torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None]
    >>> problem, g = TwoLayer(x, x, (0.01, 0.01)), torch.Generator().manual_seed(0)
    >>> tuple(value(problem, *train(problem, 3, nets=2, steps=10, rate=0.1, generator=g)).shape)
    (2,)
    """
    if min(width, nets, steps) < 1 or not (rate > 0 and spread > 0):
        raise ValueError(
            f"width {width}, nets {nets}, steps {steps}, rate {rate}, spread {spread}: expected"
            " each > 0"
        )
    x, y = problem.x, problem.y
    (first, top), channels = problem.strength, x.shape[1]
    w = spread * torch.randn(nets, width, channels, generator=generator, dtype=torch.float64)
    u = torch.randn(nets, width, y.shape[1], generator=generator, dtype=torch.float64)
    for t in range(steps):
        z = w @ x.mT / channels
        h = problem.activation.value(z)
        residual = 2 * ((h.mT @ u) / width - y) / y.numel()  # dJ/df, (nets, N, K)
        inner = problem.activation.derivative(z) * (u @ residual.mT)
        amplitude = w.abs().mean(1, keepdim=True)
        step = rate * (1 - t / steps)
        du = h @ residual + 2 * top * u
        dw = inner @ x / channels + 2 * first / channels * amplitude * w.sign()
        w, u = w - step * dw, u - step * du
    if not torch.isfinite(value(problem, w, u)).all():
        raise ValueError(f"descent diverged at rate {rate}: take a smaller one")
    return w, u
