"""An operator: the same function with the signs of one neuron flipped."""

from __future__ import annotations

from dataclasses import replace

import torch

from lib.nets import MLP
from lib.nets.checks import check_neuron


def flip(net: MLP, layer: int, neuron: int) -> MLP:
    """The same function with the weights into and out of one neuron negated; sigma is odd.

    (W^[l]_s, b^[l]_s) -> -(W^[l]_s, b^[l]_s),  W^[l+1]_{:,s} -> -W^[l+1]_{:,s}.

    Args:
        net: tanh;  layer: l in 1..L-1;  neuron: s in 0..m_l-1.
    Returns:
        A net of the same widths.
    Raises:
        ValueError: the activation is not odd; no such layer or neuron.
    Source: (Zhang et al. 2021, App. A.1).

    >>> net = MLP((torch.ones(1, 1), torch.ones(1, 1)), activation="tanh")
    >>> flip(net, 1, 0).weights
    (tensor([[-1.]]), tensor([[-1.]]))
    """
    check_neuron(net, layer, neuron)
    if str(net.activation) != "tanh":
        raise ValueError(f"activation is {net.activation}: expected tanh, which is odd")
    here = torch.arange(net.widths[layer], device=net.device) == neuron
    sign = torch.where(here, -1.0, 1.0).to(net.weights[0].dtype)
    weights, biases = list(net.weights), list(net.biases)
    weights[layer - 1] = weights[layer - 1] * sign.unsqueeze(-1)
    weights[layer] = weights[layer] * sign
    b = biases[layer - 1]
    biases[layer - 1] = None if b is None else b * sign
    return replace(net, weights=tuple(weights), biases=tuple(biases))
