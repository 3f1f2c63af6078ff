"""Grafting nets that are traced, such as residual ones, where one tensor alone passes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lib.graft.joining import pool, pools_between
from lib.joint.geometry import Geometry
from lib.joint.least_squares import Solution, solve
from lib.joint.normal import NormalEquations
from lib.nets import Chain
from lib.nets.samples import Data, in_batches
from lib.traced.cutting import halves


@torch.no_grad()
def graft_traced(
    net1: nn.Module,
    net2: nn.Module,
    x: Data,
    cut: tuple[str, str],
    *,
    ridge: float,
    products: torch.dtype,
    batch: int,
) -> tuple[Chain, Solution]:
    """Net 1 up to the output of its submodule cut[0], a 1x1 joint, and net 2 from the output of
    cut[1] on.

    The joint minimises the mean of || W f1 + b - f2 ||^2 over images and positions. Features of net
    1 that are larger by a power of two are max-pooled first.

    Returns:
        The joint between two halves as a Chain of one layer, and the least squares behind it.
    """
    (head1, _), (head2, tail2) = (
        halves(net, at) for net, at in zip((net1, net2), cut, strict=True)
    )
    equations, pools = None, 0
    for part in in_batches(x, batch):
        f, aim = (_features(head, part, at) for head, at in ((head1, cut[0]), (head2, cut[1])))
        if equations is None:
            pools = pools_between(f, aim)
            shape = Geometry(f.shape[1], aim.shape[1], linear=f.dim() == 2)
            equations = NormalEquations(shape, products, part.device)
        equations.add(pool(f, pools), aim)
    if equations is None:
        raise ValueError("got no images to graft on")
    solution = solve(equations, ridge=ridge)
    dtype = aim.dtype
    bias = None if solution.bias is None else solution.bias.to(dtype)
    joint = equations.shape.build(solution.weight.to(dtype), bias)
    before = nn.Sequential(head1, *(nn.MaxPool2d(2) for _ in range(pools)))
    return Chain([joint], [], before=before, after=tail2).eval(), solution


def _features(head: nn.Module, x: Tensor, at: str) -> Tensor:
    f = head(x.clone())  # a forward may work in place
    if not isinstance(f, Tensor) or f.dim() not in (2, 4):
        given = tuple(f.shape) if isinstance(f, Tensor) else type(f).__name__
        raise ValueError(
            f"{at!r} gives {given}: expected a tensor (n, channels, rows, columns) or (n, features)"
        )
    return f
