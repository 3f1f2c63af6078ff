"""Rescaling of homogeneous neurons: a symmetry of fully connected nets."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils import _pytree

from lib.nets import MLP
from lib.nets.checks import check_neuron, positive
from lib.nets.surgery import expand, replace


def rescale(net: MLP, layer: int, neuron: int, factor: float | Tensor) -> MLP:
    """The same function with one p-homogeneous neuron rescaled.

    (W^[l]_s, b^[l]_s) -> beta (W^[l]_s, b^[l]_s),  W^[l+1]_{:,s} -> beta^{-p} W^[l+1]_{:,s}.

    Args:
        factor: beta > 0, a number or a tensor (*batch).
    Raises:
        ValueError: sigma is not homogeneous, beta is not > 0 or takes weights out of the range of
            their dtype, or no such layer or neuron.
    Source: (Zhang et al. 2021, App. A.1).

    >>> net = MLP((torch.ones(1, 1), torch.ones(1, 1)), activation="relu")
    >>> rescale(net, 1, 0, 4.0).weights
    (tensor([[4.]]), tensor([[0.2500]]))
    """
    check_neuron(net, layer, neuron)
    degree = _degree(net)
    factor = positive("factor", factor, net)
    net = expand(net, factor.shape)
    here = torch.arange(net.widths[layer], device=net.device) == neuron
    scale = torch.where(here, factor.unsqueeze(-1), 1.0)
    b = net.biases[layer - 1]
    bias = None if b is None else _times(b, scale)
    into = _times(net.weights[layer - 1], scale.unsqueeze(-1))
    out = _times(net.weights[layer], (scale**-degree).unsqueeze(-2))
    return replace(net, {layer: into, layer + 1: out}, {layer: bias})


def _times(values: Tensor, scale: Tensor) -> Tensor:
    """values * scale, measured: dividing again gives the values to rounding."""
    product = values * scale
    error = (product / scale - values).abs()
    if not bool((error <= 4 * torch.finfo(values.dtype).eps * values.abs()).all()):
        raise ValueError(
            f"a factor from {float(scale.min()):.3g} to {float(scale.max()):.3g} takes weights out"
            f" of the range of {values.dtype}: expected one nearer to 1"
        )
    return product


def rescaling_direction(net: MLP, layer: int, neuron: int) -> MLP:
    """d/d beta of `rescale` at beta = 1: (W^[l]_s, b^[l]_s, -p W^[l+1]_{:,s}), zero elsewhere.

    At a critical point it lies in the Hessian's kernel: a zero mode per neuron with non-zero input
    and output weights.

    Raises:
        ValueError: sigma is not homogeneous; no such layer or neuron.

    >>> net = MLP((torch.full((1, 1), 3.0), torch.full((1, 1), 2.0)), activation="relu")
    >>> rescaling_direction(net, 1, 0).weights
    (tensor([[3.]]), tensor([[-2.]]))
    """
    check_neuron(net, layer, neuron)
    degree = _degree(net)
    here = (torch.arange(net.widths[layer], device=net.device) == neuron).to(net.dtype)
    b = net.biases[layer - 1]
    return replace(
        _pytree.tree_map(torch.zeros_like, net),
        {
            layer: net.weights[layer - 1] * here.unsqueeze(-1),
            layer + 1: -degree * net.weights[layer] * here,
        },
        {layer: None if b is None else b * here},
    )


def _degree(net: MLP) -> int:
    degree = net.activation.degree
    if degree is None:
        raise ValueError(
            f"{net.activation!r} is not homogeneous: expected relu, leaky_relu or identity"
        )
    return degree
