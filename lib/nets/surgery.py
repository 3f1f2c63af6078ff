"""The one way in which neurons and layers are copied, exchanged and taken out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from lib.nets.chain import Chain
from lib.nets.mlp import MLP


def expand(net: MLP, batch: Sequence[int]) -> MLP:
    """The nets repeated (without copying) over broadcast batch dimensions.

    >>> from lib.nets.drawing import init
    >>> expand(init((1, 2, 1), generator=0), (5,))
    MLP((5,) x 1-2-1, tanh, 7 parameters)
    """
    shape = torch.broadcast_shapes(tuple(batch), net.batch)
    own = len(net.batch)
    return net if shape == net.batch else net.map(lambda p: p.expand(*shape, *p.shape[own:]))


def replace(net: MLP, weights: dict[int, Tensor], biases: dict[int, Tensor | None]) -> MLP:
    """The net with some parameters exchanged; keys are layers 1..L."""
    return MLP(
        [weights.get(layer, w) for layer, w in enumerate(net.weights, start=1)],
        [biases.get(layer, b) for layer, b in enumerate(net.biases, start=1)],
        net.activation,
    )


def reindex(net: MLP, layer: int, index: Sequence[int], shares: Tensor) -> MLP:
    """Layer l rebuilt from copies: neuron i with the input weights of index[i] and shares[i] of its
    output weights.

    W'^[l]_i = W^[l]_{index[i]},  b'^[l]_i = b^[l]_{index[i]},  W'^[l+1]_{:,i} = shares_i
    W^[l+1]_{:,index[i]}.

    Args:
        index: m'_l rows of layer l.
        shares: (*batch, m'_l), broadcast with the batch of nets.
    """
    net = expand(net, shares.shape[:-1])
    rows = torch.tensor(index, dtype=torch.int64, device=net.device)
    bias = net.biases[layer - 1]
    return replace(
        net,
        {
            layer: net.weights[layer - 1].index_select(-2, rows),
            layer + 1: net.weights[layer].index_select(-1, rows) * shares.unsqueeze(-2),
        },
        {layer: None if bias is None else bias.index_select(-1, rows)},
    )


def replace_layers(
    net: Chain,
    layer: int,
    count: int,
    joints: Sequence[nn.Module],
    activations: Sequence[nn.Module],
) -> Chain:
    """A copy with other joints, and the maps between them, in the place of `count` layers from
    `layer` on; every module keeps its mode.

    >>> net = Chain([nn.Linear(1, 2), nn.Linear(2, 1)], [nn.ReLU()])
    >>> replace_layers(net, 1, 2, [nn.Linear(1, 1)], []).depth
    1
    """
    own = copy.deepcopy(net)
    start, stop = layer - 1, layer - 1 + count
    changed = Chain(
        [*own.joints[:start], *joints, *own.joints[stop:]],
        [*own.activations[:start], *activations, *own.activations[stop - 1 :]],
        before=own.before,
        after=own.after,
    )
    changed.training = net.training
    return changed


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """`nn.Linear` with copies of these parameters; nothing is drawn.

    >>> linear(torch.ones(2, 3), None)
    Linear(in_features=3, out_features=2, bias=False)
    """
    out, into = weight.shape
    like = {"dtype": weight.dtype, "device": weight.device}
    made = cast(nn.Linear, skip_init(nn.Linear, into, out, bias=bias is not None, **like))
    with torch.no_grad():
        made.weight.copy_(weight)
        if bias is not None:
            made.bias.copy_(bias)
    return made
