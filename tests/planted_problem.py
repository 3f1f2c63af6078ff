"""A small net, a sample and targets for which the net is a critical point."""

from __future__ import annotations

import torch

from lib.critical import plant
from lib.nets import init


def problem(widths, sigma="tanh", *, residual=0.3, seed=0, n=20, **options):
    """(net, x, y) with the root mean square residual asked for."""
    draws = torch.Generator().manual_seed(seed)
    net = init(widths, sigma, std=1.0, generator=draws, **options)
    x = 1.5 * torch.randn(n, widths[0], generator=draws, dtype=torch.float64)
    return net, x, plant(net, x, draws, residual=residual)
