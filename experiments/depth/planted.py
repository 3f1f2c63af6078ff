"""Nets that are exact critical points of planted data, drawn until their Hessian is as wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.critical import plant
from lib.curvature import Inertia, hessian, inertia
from lib.depth import exits, lift
from lib.nets import MLP, Activation, flatten, gradient, init


@dataclass(frozen=True, eq=False)
class Planted:
    """A net, data (n, m_0) and (n, m_L) for which it is critical, and the signs of its Hessian."""

    net: MLP
    x: Tensor
    y: Tensor
    inertia: Inertia


def gaussian(generator: torch.Generator, *shape: int) -> Tensor:
    """Standard normal numbers in double precision.

    >>> gaussian(torch.Generator().manual_seed(0), 2, 3).shape
    torch.Size([2, 3])
    """
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def gradient_norm(net: MLP, x: Tensor, y: Tensor) -> float:
    """Euclidean norm of the gradient of the risk.

    >>> net = init((1, 2, 1), generator=torch.Generator().manual_seed(0))
    >>> gradient_norm(net, torch.ones(3, 1).double(), torch.ones(3, 1).double()) > 0
    True
    """
    return float(flatten(gradient(net, x, y)).norm())


def critical_net(
    widths: Sequence[int], sigma: str | Activation, *, saddle: bool, generator: torch.Generator
) -> Planted:
    """A strict saddle, or a point without negative eigenvalues, with a spectral gap that rounding
    cannot blur.

    Args:
        widths: (m_0, ..., m_L);  saddle: whether a negative eigenvalue is wanted.

    >>> draws = torch.Generator().manual_seed(0)
    >>> found = critical_net((2, 2, 1), "elu", saddle=False, generator=draws)
    >>> found.inertia.counts[0], gradient_norm(found.net, found.x, found.y) < 1e-12
    (0, True)
    """
    residual = 30.0 if saddle else 1e-3

    def wanted(found: Inertia) -> bool:
        return bool(found.clear) and (found.counts[0] > 0) == saddle

    return _drawn(widths, sigma, generator, wanted, samples=30, residual=residual, std=0.8, gap=1e6)


def strict_minimum(
    widths: Sequence[int], sigma: str | Activation, *, samples: int, generator: torch.Generator
) -> Planted:
    """A minimum whose Hessian is positive definite.

    >>> draws = torch.Generator().manual_seed(0)
    >>> strict_minimum((2, 2, 1), "tanh", samples=60, generator=draws).inertia.counts
    (0, 0, 9)
    """
    return _drawn(
        widths,
        sigma,
        generator,
        lambda found: found.counts[:2] == (0, 0),
        samples=samples,
        residual=0.05,
    )


@dataclass(frozen=True, eq=False)
class LiftedMinimum:
    """A minimum without negative eigenvalues (`shallow`) and a lift of it whose layer 2 is new."""

    shallow: Planted
    deep: MLP


def lifted_minimum(sigma: str | Activation, generator: torch.Generator) -> LiftedMinimum:
    """A 2-3-1 minimum with a layer of five neurons put in behind its hidden layer; the samples at
    every rim of the lifted manifold have an error, so that each can be made an exit.

    >>> lifted_minimum("relu", torch.Generator().manual_seed(0)).deep.widths
    (2, 3, 5, 1)
    """
    while True:
        net, x = init((2, 3, 1), sigma, generator=generator), gaussian(generator, 30, 2)
        y = plant(net, x, generator, residual=0.1)
        found = inertia(hessian(net, x, y), require=False)
        deep = lift(net, x, 1, 5, generator=generator)
        is_minimum = bool(found.clear) and found.counts[0] == 0
        if is_minimum and exits(deep, x, y, 2).errors.norm(dim=-1).min() > 1e-4:
            return LiftedMinimum(Planted(net, x, y, found), deep)


def _drawn(
    widths: Sequence[int],
    sigma: str | Activation,
    generator: torch.Generator,
    wanted: Callable[[Inertia], bool],
    *,
    samples: int,
    residual: float,
    std: float = 1.0,
    gap: float = 1e3,
) -> Planted:
    while True:
        net = init(tuple(widths), sigma, std=std, generator=generator)
        x = gaussian(generator, samples, widths[0])
        y = plant(net, x, generator, residual=residual)
        found = inertia(hessian(net, x, y), gap=gap, require=False)
        if wanted(found):
            return Planted(net, x, y, found)
