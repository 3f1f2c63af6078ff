"""Residual blocks that add nothing, put into a critical net (claim B13)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from experiments.depth.planted import gaussian
from lib.certificate import module_gradient
from lib.critical import plant
from lib.depth import (
    insert_block,
    linearised_block,
    null_block,
    stream_at,
    zero_output_block,
)
from lib.depth.residual import ResidualBlock

F64 = torch.float64


@dataclass(frozen=True)
class BlockTrial:
    """Largest output gap on the data, and norm of the gradient, with the block in its place."""

    gap: float
    gradient: float


def residual_net(generator: torch.Generator) -> nn.Sequential:
    """A residual net of two inputs with a stream of three features and one block of its own.

    >>> residual_net(torch.Generator().manual_seed(0))(torch.zeros(4, 2).double()).shape
    torch.Size([4, 1])
    """
    own = null_block(3, 2, "tanh", dtype=F64)
    head = [nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 3)]
    net = nn.Sequential(*head, own, nn.Linear(3, 1)).double()
    for p in net.parameters():
        nn.init.normal_(p, std=0.6, generator=generator)
    return net


def kinds(stream: Tensor, generator: torch.Generator) -> dict[str, ResidualBlock]:
    """The three blocks that add nothing on a stream (n, 3)."""
    return {
        "neither reads nor writes": null_block(3, 5, "elu", bias=0.7, dtype=F64),
        "does not write": zero_output_block(3, 5, "elu", dtype=F64, generator=generator),
        "linearised": linearised_block(3, 5, "elu", stream, generator=generator),
    }


def blocks_compared(generator: torch.Generator) -> dict[str, BlockTrial]:
    """Each of the three in a planted critical net, before the block that is there.

    >>> found = blocks_compared(torch.Generator().manual_seed(0))
    >>> [kind for kind, trial in found.items() if trial.gradient > 1e-6]
    ['does not write']
    """
    net, x = residual_net(generator), gaussian(generator, 80, 2)
    y = plant(net, x, generator)
    found = {}
    for kind, block in kinds(stream_at(net, 3, x), generator).items():
        deep = insert_block(net, 3, block)
        gap = (deep(x) - net(x)).detach().abs().max()
        found[kind] = BlockTrial(float(gap), float(module_gradient(deep, x, y).norm()))
    return found
