"""How long embedded minima hold descent: escape times against the most negative eigenvalue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from lib.curvature import hessian
from lib.nets import MLP, flatten, risk, stack, unflatten
from lib.train.descent import descend
from lib.width import split_into

STEP = 1e-4  # how far along the most negative direction a run starts
FALL = 1e-4  # the part of the loss that must be lost


@dataclass(frozen=True)
class Escapes:
    """Escape times of embeddings of one minimum, (n,) each.

    Args:
        eigenvalue: most negative one;  predicted, measured: times, rate times epochs.
    """

    eigenvalue: Tensor
    predicted: Tensor
    measured: Tensor


def draw_shares(generator: Generator, copies: int, count: int, *, inside: bool) -> Tensor:
    """Shares of the copies that add up to one: all between 0.1 and 1, or with a negative one and
    none beyond 3 in size.

    Returns:
        (count, copies).
    """
    kept: list[Tensor] = []
    while len(kept) < count:
        if inside:
            u = torch.rand(copies, generator=generator, dtype=torch.float64)
        else:
            u = 2 * torch.randn(copies, generator=generator, dtype=torch.float64)
        u = u / u.sum()
        if u.abs().max() <= 3 and ((u >= 0.1).all() if inside else u.min() < -0.1):
            kept.append(u)
    return torch.stack(kept)


def escape_times(net: MLP, x: Tensor, y: Tensor, shares: Tensor) -> Escapes:
    """Split the first neuron, step along the most negative eigenvector, and descend.

    If the Hessian tells the story, the loss has fallen by delta = FALL times itself after
    t* = ln(2 delta / (|lambda| STEP^2)) / (2 |lambda|).

    Args:
        net: one net at a minimum;  shares: (n, copies), each adding up to one.
    """
    wide = split_into(net, 1, 0, shares)
    values, vectors = torch.linalg.eigh(hessian(wide, x, y))
    level = float(risk(net, x, y))
    delta = FALL * level
    speed = -values[:, 0]
    expected = torch.log(2 * delta / (speed * STEP**2)) / (2 * speed)
    lr = 0.5 / float(values[:, -1].max())  # small enough to follow the gradient flow
    walk = descend(
        unflatten(flatten(wide) + STEP * vectors[..., 0], wide),
        x,
        y,
        steps=int(1.5 * float(expected.max()) / lr),
        lr=lr,
        records=3000,
        keep_smallest=False,
    )
    gone = walk.losses < level - delta
    first = walk.steps[gone.to(torch.int64).argmax(0)] * lr
    return Escapes(speed, expected, torch.where(gone.any(0), first, torch.nan))


def steepest(net: MLP, x: Tensor, y: Tensor, alphas: tuple[float, ...]) -> list[float]:
    """The most negative eigenvalue after a split into shares 1 - alpha and alpha, one for each."""
    shares = torch.tensor([[1 - a, a] for a in alphas], dtype=torch.float64)
    return torch.linalg.eigvalsh(hessian(split_into(net, 1, 0, shares), x, y))[:, 0].tolist()


@dataclass(frozen=True)
class Kicks:
    """Escape times from random kicks after an equal split, (n,), and the most negative eigenvalue.

    Args:
        copies: of the neuron;  negative: how many eigenvalues are.
    """

    copies: int
    times: Tensor
    eigenvalue: float
    negative: int


def kicked(
    net: MLP, x: Tensor, y: Tensor, copies: int, *, count: int, generator: Generator
) -> Kicks:
    """Split into equal copies, kick in random directions by STEP, and follow gradient descent.

    Times are rate times epochs until the loss has fallen by FALL times itself.
    """
    wide = split_into(net, 1, 0, [1 / copies] * copies)
    values = torch.linalg.eigvalsh(hessian(wide, x, y))
    level = float(risk(net, x, y))
    kicks = torch.randn(count, wide.n_parameters, generator=generator, dtype=torch.float64)
    kicks = STEP * kicks / kicks.norm(dim=-1, keepdim=True)
    start = unflatten(flatten(wide) + kicks, stack([wide] * count))
    lr = 0.5 / float(values[-1])
    growth = FALL * level / float(-values[0]) / STEP**2  # of the square of the amplitude
    longest = 1.5 / float(-values[0]) * float(np.log(2 * growth * wide.n_parameters))
    walk = descend(start, x, y, steps=int(longest / lr), lr=lr, records=3000, keep_smallest=False)
    gone = walk.losses < level * (1 - FALL)
    first = walk.steps[gone.to(torch.int64).argmax(0)] * lr
    times = torch.where(gone.any(0), first, torch.nan)
    negative = int((values < -1e-8 * values[-1]).sum())
    return Kicks(copies, times, float(values[0]), negative)
