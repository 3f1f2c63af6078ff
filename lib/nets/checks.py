"""Checks of what an operator is asked for, and the one way in which it copies neurons.

A layer is named as in the papers, 1..L-1 for the hidden ones, and a neuron by its row in W^[l],
counted from 0, so that neuron s of layer l is `features(net, x)[l][..., s]`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lib.nets.mlp import MLP


def check_layer(net: MLP, layer: int) -> None:
    """Raises ValueError unless `layer` is a hidden layer of `net`, TypeError unless it is an
    int."""
    if isinstance(layer, bool) or not isinstance(layer, int):
        raise TypeError(f"layer is {layer!r}: expected an int")
    if net.depth < 2:
        raise ValueError(f"{net} has no hidden layer: expected depth >= 2")
    if not 1 <= layer < net.depth:
        raise ValueError(f"layer {layer} outside 1..{net.depth - 1}, the hidden layers of {net}")


def check_neuron(net: MLP, layer: int, neuron: int, *, width: int | None = None) -> None:
    """Raises ValueError unless `neuron` is a row of that hidden layer, TypeError unless both are
    ints.

    Args:
        width: of the layer, where steps taken before have widened it.
    """
    check_layer(net, layer)
    width = net.widths[layer] if width is None else width
    if isinstance(neuron, bool) or not isinstance(neuron, int):
        raise TypeError(f"neuron is {neuron!r}: expected an int")
    if not 0 <= neuron < width:
        raise ValueError(f"neuron {neuron} outside 0..{width - 1} of layer {layer} of {net}")


def real(what: str, number: float | Tensor, net: MLP, *, trailing: int = 0) -> Tensor:
    """The finite number, or tensor of numbers, in the net's dtype.

    Args:
        what: its name in messages.
        trailing: number of dimensions after those that broadcast with the batch of `net`.
    Raises:
        TypeError: neither a number nor a tensor of the net's dtype.
        ValueError: not finite, or its leading dimensions do not broadcast with the batch of nets.

    >>> from lib.nets.drawing import init
    >>> real("alpha", 0.5, init((1, 2, 1), generator=0))
    tensor(0.5000, dtype=torch.float64)
    """
    if isinstance(number, Tensor):
        if number.dtype != net.dtype:
            raise TypeError(f"{what} is {number.dtype}: expected {net.dtype}, the dtype of the net")
        value = number
    elif isinstance(number, (int, float)) and not isinstance(number, bool):
        value = torch.tensor(float(number), dtype=net.dtype, device=net.device)
    else:
        raise TypeError(f"{what} is {number!r}: expected a number or a tensor of {net.dtype}")
    if not torch.isfinite(value).all():
        shown = f"{float(value)}" if value.dim() == 0 else "a tensor with non-finite entries"
        raise ValueError(f"{what} is {shown}: expected finite numbers")
    if value.dim() < trailing:
        raise ValueError(
            f"{what} has shape {tuple(value.shape)}: expected (*batch) + {trailing} dimensions"
        )
    lead = value.shape[: value.dim() - trailing]
    try:
        torch.broadcast_shapes(lead, net.batch)
    except RuntimeError:
        raise ValueError(
            f"{what} has leading shape {tuple(lead)}: it does not broadcast with batch"
            f" {tuple(net.batch)}"
        ) from None
    return value


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


def largest(t: Tensor) -> float:
    """max |t|, 0 for an empty tensor, nan kept."""
    return float(t.detach().abs().max()) if t.numel() else 0.0


def is_close(got: Tensor, expected: Tensor, scale: Tensor, tolerance: float) -> Tensor:
    """|got - expected| <= tolerance * (1 + scale), elementwise: rounding grows with the size of the
    summands."""
    return (got - expected).abs() <= tolerance * (1 + scale)


def positive(what: str, number: float | Tensor, net: MLP) -> Tensor:
    """As `real`, and > 0.

    Raises:
        ValueError: a number <= 0.
    """
    value = real(what, number, net)
    if not (value > 0).all():
        raise ValueError(f"{what} is {float(value.min()):g}: expected > 0")
    return value


def finite_tolerance(tolerance: float) -> float:
    """Raises ValueError unless tolerance is a finite number >= 0."""
    if not isinstance(tolerance, (int, float)) or not math.isfinite(tolerance) or tolerance < 0:
        raise ValueError(f"tolerance is {tolerance!r}: expected a finite number >= 0")
    return float(tolerance)


def finite_number(what: str, number: float) -> float:
    """A finite number as float.

    Raises:
        TypeError: no number.  ValueError: not finite.
    """
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise TypeError(f"{what} is {number!r}: expected a number")
    if not math.isfinite(number):
        raise ValueError(f"{what} is {number}: expected a finite number")
    return float(number)
