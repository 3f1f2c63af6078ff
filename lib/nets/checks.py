"""Checks of what an operator is asked for.

A layer is named as in the papers, 1..L-1 for the hidden ones, and a neuron by its row in W^[l],
counted from 0, so that neuron s of layer l is `features(net, x)[l][..., s]`.
"""

from __future__ import annotations

import copy
import math
import numbers
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lib.nets.chain import Chain
from lib.nets.kinds import check_deterministic
from lib.nets.mlp import MLP, check_mlp
from lib.nets.propagation import forward
from lib.nets.samples import check_finite, check_samples


def check_single(net: MLP) -> None:
    """Raises ValueError for a batch of nets.

    >>> check_single(MLP((torch.ones(1, 1),)))
    """
    check_mlp("net", net)
    if net.batch:
        raise ValueError(f"{net} is a batch of nets: index one first")


def check_index(what: str, number: int) -> int:
    """The number as int; raises TypeError unless it is one, of Python or of numpy."""
    if isinstance(number, bool) or not isinstance(number, numbers.Integral):
        raise TypeError(f"{what} is {number!r}: expected an int")
    return int(number)


def check_count(what: str, number: int, least: int = 1) -> int:
    """The number as int; raises TypeError unless it is one, ValueError below the least.

    >>> check_count("batch", 3)
    3
    """
    count = check_index(what, number)
    if count < least:
        raise ValueError(f"{what} is {count}: expected >= {least}")
    return count


def check_counts(settings: object, *names: str, **least: int) -> None:
    """Checks that fields of some settings are whole numbers, >= 1 or what is said, or None."""
    for name in (*names, *least):
        value = getattr(settings, name)
        if value is not None:
            check_count(name, value, least.get(name, 1))


def check_layer(net: MLP | Chain, layer: int) -> None:
    """Raises ValueError unless `layer` is a hidden layer of `net`, TypeError unless it is an int.

    >>> check_layer(MLP((torch.ones(1, 1), torch.ones(1, 1))), 1)
    """
    check_index("layer", layer)
    if not isinstance(net, MLP | Chain):
        raise TypeError(f"net is {type(net).__name__}: expected an MLP or a Chain")
    if net.depth < 2:
        raise ValueError(f"{_named(net)} has no hidden layer: expected depth >= 2")
    if not 1 <= layer < net.depth:
        raise ValueError(
            f"layer {layer} outside 1..{net.depth - 1}, the hidden layers of {_named(net)}"
        )


def check_neuron(net: MLP | Chain, layer: int, neuron: int, *, width: int | None = None) -> None:
    """Raises ValueError unless `neuron` is a neuron or channel of that hidden layer, TypeError
    unless both are ints.

    Args:
        width: of the layer, where steps taken before have widened it.
    """
    check_layer(net, layer)
    width = net.widths[layer] if width is None else width
    word = "neuron" if isinstance(net, MLP) else "channel"
    check_index(word, neuron)
    if not 0 <= neuron < width:
        raise ValueError(
            f"{word} {neuron} outside 0..{width - 1} of layer {layer} of {_named(net)}"
        )


def check_order(net: MLP | Chain, layer: int, order: Sequence[int]) -> list[int]:
    """The order as a list; raises ValueError unless it permutes the neurons of that hidden layer.

    >>> check_order(MLP((torch.ones(2, 1), torch.ones(1, 2))), 1, [1, 0])
    [1, 0]
    """
    check_layer(net, layer)
    listed = order.tolist() if isinstance(order, Tensor) else order
    wanted = [check_index(f"an entry of the order of layer {layer}", i) for i in listed]
    if sorted(wanted) != list(range(net.widths[layer])):
        raise ValueError(
            f"order of layer {layer} is {wanted}: expected a permutation of"
            f" 0..{net.widths[layer] - 1}"
        )
    return wanted


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
    elif isinstance(number, numbers.Real) and not isinstance(number, bool):
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


@torch.no_grad()
def check_preserved(before: MLP | nn.Module, after: MLP | nn.Module, x: Tensor) -> None:
    """Measure on inputs x that two nets are one function: the check of every operator that says so.

    Both are run in float64, in their modes. Allowed is the square root of the unit of rounding of
    the nets' own dtype, relative to the largest output.

    Raises:
        ValueError: they differ by more.

    >>> net = MLP((torch.ones(2, 1), torch.ones(1, 2)))
    >>> check_preserved(net, net, torch.ones(3, 1))
    """
    check_samples(x)
    expected, found = (_in_float64(net, x) for net in (before, after))
    check_finite("outputs of the net", expected)
    apart, unit = largest(found - expected), torch.finfo(next(iter(after.parameters())).dtype).eps
    if not apart <= math.sqrt(unit) * largest(expected):
        raise ValueError(
            f"the outputs changed by {apart:.2g}, of size {largest(expected):.2g}: expected the"
            " same function; dense layers are taken to read (n, features)"
        )


def _in_float64(net: MLP | nn.Module, x: Tensor) -> Tensor:
    if isinstance(net, MLP):
        return forward(net.to(torch.float64), x.double())
    check_deterministic(net)
    outputs: Tensor = copy.deepcopy(net).double()(x.double())
    return outputs


def largest(t: Tensor) -> float:
    """max |t|, 0 for an empty tensor, nan kept."""
    return float(t.detach().abs().max()) if t.numel() else 0.0


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
    if not isinstance(tolerance, numbers.Real) or not math.isfinite(tolerance) or tolerance < 0:
        raise ValueError(f"tolerance is {tolerance!r}: expected a finite number >= 0")
    return float(tolerance)


def finite_number(what: str, number: float) -> float:
    """A finite number as float.

    Raises:
        TypeError: no number.  ValueError: not finite.
    """
    if isinstance(number, bool) or not isinstance(number, numbers.Real):
        raise TypeError(f"{what} is {number!r}: expected a number")
    if not math.isfinite(number):
        raise ValueError(f"{what} is {number}: expected a finite number")
    return float(number)


def _named(net: MLP | Chain) -> str:
    return repr(net) if isinstance(net, MLP) else f"a Chain of {net.depth} layers"
