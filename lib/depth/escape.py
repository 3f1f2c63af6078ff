"""A way out of every lifted local minimum: the constructive half of what happens at the boundary
(claim B6)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lib.depth.boundary import kink_errors, slide
from lib.depth.merging import merge
from lib.depth.pieces import pieces_of
from lib.nets import MLP, Loss, mse, preactivations


def open_exit(
    net: MLP, x: Tensor, y: Tensor, layer: int, neuron: int, *, pull: float = 1.0, loss: Loss = mse
) -> MLP:
    """Another element of the same lifted manifold, through whose neuron the risk falls at the given
    rate.

    With e the neuron's `kink_errors`, P = diag(slope) W^[l] and v = (1 - P P^+) unit_j,

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

    >>> from lib.depth.lifting import lift
    >>> from lib.depth.boundary import exits
    >>> from lib.nets import init
    >>> net, x = init((1, 3, 1), "relu", generator=0), torch.tensor([[-1.0], [0.3], [2.0]], dtype=torch.float64)
    >>> deep = open_exit(lift(net, x, 1, 5), x, x, 2, 0)
    >>> bool(exits(deep, x, x, 2).first[0] < 0)
    True
    """
    if not (math.isfinite(pull) and pull > 0):
        raise ValueError(f"pull is {pull}: expected a finite number > 0")
    slide(
        net, x, layer, neuron, 1.0
    )  # refuses what has no boundary, and a layer that is not linearised
    e = kink_errors(net, x, y, layer, loss)[neuron]
    z = preactivations(net, x)[layer - 1]
    index = pieces_of(net, x, layer)
    slope = torch.tensor([p.slope for p in net.activation.pieces], dtype=z.dtype, device=z.device)[
        index
    ]
    shift = torch.tensor([p.shift for p in net.activation.pieces], dtype=z.dtype, device=z.device)[
        index
    ]
    p = slope.unsqueeze(-1) * net.weights[layer - 1]
    unit = torch.zeros_like(z[0])
    unit[neuron] = 1.0
    v = unit - p @ (torch.linalg.pinv(p) @ unit)
    rounding = 1e-10
    if not bool(v[neuron] > rounding):
        raise ValueError(
            f"layer {layer} of {net!r} has no freedom at neuron {neuron}: its outgoing weights are"
            f" fixed by the {net.widths[layer - 1]} inputs; expected a lift with a wider layer"
        )
    size = e.norm()
    if not bool(size > 1e-12 * (1 + net.weights[layer].norm())):
        raise ValueError(
            f"the samples nearest to the kink of neuron {neuron} have total error"
            f" {float(size):.1e}: no pull; choose a neuron with large `kink_errors`"
        )
    outer = net.weights[layer]
    t = (e @ outer[:, neuron] + pull * size) / (size**2 * v[neuron])
    change = -t * e.unsqueeze(-1) * v
    bias = net.biases[layer] - change @ (slope * net.biases[layer - 1] + shift)
    result = MLP(
        [*net.weights[:layer], outer + change, *net.weights[layer + 1 :]],
        [*net.biases[:layer], bias, *net.biases[layer + 1 :]],
        net.activation,
    )
    merge(result, x, layer)
    return result
