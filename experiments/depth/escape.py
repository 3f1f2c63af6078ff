"""A way out of every lifted local minimum: the constructive half of what happens at the boundary
(claim B6)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lib.depth import exits, layer_on_data
from lib.nets import MLP, Loss, mse
from lib.nets.checks import check_neuron
from lib.nets.surgery import replace

ROUNDING = 1e-10


def open_exit(
    net: MLP, x: Tensor, y: Tensor, layer: int, neuron: int, *, pull: float = 1.0, loss: Loss = mse
) -> MLP:
    """Another element of the same lifted manifold, through whose neuron the risk falls at the given
    rate.

    With e the neuron's `exits(...).errors`, P = diag(slope) W^[l] and v = (1 - P P^+) unit_j,

        A' = A - t e v^T,   t chosen so that <e, A'_j> = -pull |e|,   b^[l+1] takes back what this
        adds,

    which changes neither A P nor any output. Just past the boundary the risk then goes as R - pull
    |e| |jump| d for a ReLU, R - pull |e| alpha d^2 / 2 for an ELU with alpha = 1 (see `exits`).

    Args:
        net: one net with a linearised layer wider than its input, as `lift(..., width > m_q)` makes
            it.
        x, y: the sample;  layer: that layer;  neuron: j.  pull: > 0, strength of the exit.
    Returns:
        the net; follow with `slide(result, x, layer, neuron, 0.0)` to stand at the exit.
    Raises:
        ValueError: the layer is not linearised, no null space touches the neuron, e = 0 (that
            sample is fitted), or pull <= 0.

    Source: ours.

    >>> from lib.depth import lift
    >>> from lib.nets import init
    >>> draws = torch.Generator().manual_seed(0)
    >>> net = init((1, 3, 1), "relu", generator=draws)
    >>> x = torch.tensor([[-1.0], [0.3], [2.0]]).double()
    >>> deep = open_exit(lift(net, x, 1, 5, generator=draws), x, x, 2, 0)
    >>> bool(exits(deep, x, x, 2).first[0] < 0)
    True
    """
    if not (math.isfinite(pull) and pull > 0):
        raise ValueError(f"pull is {pull}: expected a finite number > 0")
    check_neuron(net, layer, neuron)
    e = exits(net, x, y, layer, loss).errors[neuron]
    slope, shift = layer_on_data(net, x, layer).lines
    v = _free_direction(net, layer, neuron, slope)
    size = e.norm()
    if not bool(size > 1e-12 * (1 + net.weights[layer].norm())):
        raise ValueError(
            f"the samples nearest to the kink of neuron {neuron} have total error"
            f" {float(size):.1e}: no pull; choose a neuron with large `exits(...).errors`"
        )
    outer = net.weights[layer]
    t = (e @ outer[:, neuron] + pull * size) / (size**2 * v[neuron])
    change = -t * e.unsqueeze(-1) * v
    bias = net.biases[layer] - change @ (slope * net.biases[layer - 1] + shift)
    return replace(net, {layer + 1: outer + change}, {layer + 1: bias})


def _free_direction(net: MLP, layer: int, neuron: int, slope: Tensor) -> Tensor:
    # (1 - P P^+) unit_j with P = diag(slope) W^[l]: outgoing weights may move along it.
    p = slope.unsqueeze(-1) * net.weights[layer - 1]
    unit = torch.zeros_like(slope)
    unit[neuron] = 1.0
    v = unit - p @ (torch.linalg.pinv(p) @ unit)
    if not bool(v[neuron] > ROUNDING):
        raise ValueError(
            f"layer {layer} of {net!r} has no freedom at neuron {neuron}: its outgoing weights are"
            f" fixed by the {net.widths[layer - 1]} inputs; expected a lift with a wider layer"
        )
    return v
