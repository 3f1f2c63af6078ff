"""Null neurons, the one-step embedding T^alpha_{l,0}: neurons that neither read nor write."""

from __future__ import annotations

import torch
from torch import Tensor

from lib.nets import MLP
from lib.nets.checks import check_layer, real
from lib.nets.dense import Dense, as_dense, as_kind_of
from lib.nets.surgery import expand, replace


def null_embed(net: Dense, layer: int, bias: float | Tensor = 0.0) -> Dense:
    """One-step null embedding T^b_{l,0}: a new last neuron with zero input weights, bias b and zero
    output weights.

    Both zeros are needed for criticality (Zhang et al. 2022, Thm 4.1), and so is a bias in layer
    l + 1 when sigma(b) != 0: the gradient of the new output weights is sigma(b) times that bias's
    gradient.

    Args:
        net: one net or a batch of nets, or an nn.Sequential as in `split`.
        layer: l in 1..L-1.
        bias: b, a finite number or a tensor (*batch).
    Returns:
        The net with widths (m_0, ..., m_l + 1, ..., m_L).
    Raises:
        ValueError: no such hidden layer; b is not finite, or not 0 while layer l has no biases; or
            layer l + 1 has no biases and sigma(b) != 0, so that critical points would not stay
            critical (`append` builds such nets).
    Source: (Zhang et al. 2022, Def. 4.3).

    >>> from lib.nets import init
    >>> null_embed(init((1, 1, 1), generator=0), layer=1, bias=0.3).biases[0]
    tensor([-0.2934,  0.3000], dtype=torch.float64)
    """
    mlp = as_dense(net)
    check_layer(mlp, layer)
    bias = real("bias", bias, mlp)
    feature = mlp.activation.value(bias)
    if mlp.biases[layer] is None and (feature != 0).any():
        raise ValueError(
            f"layer {layer + 1} of {mlp} has no biases and sigma(bias) ="
            f" {float(feature.abs().max()):g}: a null neuron keeps criticality only with"
            " sigma(bias) = 0 or with biases in that layer; use append to build it anyway"
        )
    into, out = (bias.new_zeros(mlp.widths[at]) for at in (layer - 1, layer + 1))
    return as_kind_of(net, append(mlp, layer, into, bias, out))


def append(net: MLP, layer: int, incoming: Tensor, bias: float | Tensor, outgoing: Tensor) -> MLP:
    """Any new last neuron in layer l; in general this changes the output, so it is no embedding.

    Args:
        incoming: its input weights (*batch, m_{l-1}).
        bias: its bias, a number or (*batch); 0 for a layer without biases.
        outgoing: its output weights (*batch, m_{l+1}).
    Raises:
        ValueError: wrong shapes, numbers that are not finite, or a bias for a layer that has none.

    >>> from lib.nets import init
    >>> one = torch.ones(1, dtype=torch.float64)
    >>> append(init((1, 1, 1), generator=0), 1, one, 0.0, 0 * one)
    MLP(1-2-1, tanh, 7 parameters)
    """
    check_layer(net, layer)
    incoming = real("incoming", incoming, net, trailing=1)
    outgoing = real("outgoing", outgoing, net, trailing=1)
    bias = real("bias", bias, net)
    for name, given, width in (
        ("incoming", incoming, net.widths[layer - 1]),
        ("outgoing", outgoing, net.widths[layer + 1]),
    ):
        if given.shape[-1] != width:
            raise ValueError(f"{name} has {given.shape[-1]} weights: expected {width}")
    if net.biases[layer - 1] is None and (bias != 0).any():
        raise ValueError(
            f"bias is {float(bias.abs().max()):g}, and layer {layer} of {net} has no biases:"
            " expected 0"
        )
    batch = torch.broadcast_shapes(incoming.shape[:-1], outgoing.shape[:-1], bias.shape, net.batch)
    net = expand(net, batch)
    old = net.biases[layer - 1]
    row = incoming.expand(*batch, -1).unsqueeze(-2)
    column = outgoing.expand(*batch, -1).unsqueeze(-1)
    return replace(
        net,
        {
            layer: torch.cat([net.weights[layer - 1], row], dim=-2),
            layer + 1: torch.cat([net.weights[layer], column], dim=-1),
        },
        {
            layer: (
                None if old is None else torch.cat([old, bias.expand(batch).unsqueeze(-1)], dim=-1)
            )
        },
    )
