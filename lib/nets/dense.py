"""The door for fully connected nets: an `MLP`, or the plain nn.Sequential that is one, and the
problem that it is given."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from lib.nets.losses import Loss, cross_entropy, mse
from lib.nets.mlp import MLP, check_mlp
from lib.nets.samples import check_classes, check_finite, check_samples
from lib.nets.sequential import from_sequential, to_sequential

Dense = TypeVar("Dense", MLP, nn.Sequential)


def as_dense(net: MLP | nn.Sequential) -> MLP:
    """The net as an `MLP` of finite parameters.

    Raises:
        TypeError: neither an `MLP` nor as `from_sequential` takes it.  ValueError: not finite.

    >>> as_dense(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)))
    MLP(2-3-1, tanh, 13 parameters)
    """
    if not isinstance(net, (MLP, nn.Sequential)):
        kind = type(net).__name__
        raise TypeError(f"net is {kind}: expected an MLP, or an nn.Sequential of Linear layers")
    net = from_sequential(net) if isinstance(net, nn.Sequential) else net
    check_parameters(net)
    return net


def as_kind_of(given: Dense, made: MLP) -> Dense:
    """The net in the kind, and mode, of what was given to `as_dense`."""
    return made if isinstance(given, MLP) else to_sequential(made).train(given.training)


def check_parameters(net: MLP) -> None:
    """Raises ValueError unless every parameter is finite; the message names the layer.

    >>> check_parameters(MLP((torch.ones(1, 1),)))
    """
    for layer, (w, b) in enumerate(zip(net.weights, net.biases, strict=True), start=1):
        check_finite(f"the weight of layer {layer}", w)
        if b is not None:
            check_finite(f"the bias of layer {layer}", b)


def check_inputs(net: MLP, x: Tensor) -> None:
    """Raises unless x is (n, m_0) of n >= 1 finite samples in the net's dtype.

    >>> check_inputs(MLP((torch.ones(1, 2),)), torch.zeros(5, 2))
    """
    check_mlp("net", net)
    check_samples(x)
    if x.shape != (len(x), net.widths[0]):
        raise ValueError(f"x has shape {tuple(x.shape)}: expected (n, {net.widths[0]}) for {net!r}")
    if x.dtype != net.dtype:
        raise TypeError(f"x is {x.dtype}: expected {net.dtype}, the dtype of {net!r}")


def check_problem(net: MLP, x: Tensor, y: Tensor, loss: Loss = mse) -> None:
    """`check_inputs`, and raises unless y has finite targets of the loss, one for each sample.

    >>> check_problem(MLP((torch.ones(1, 2),)), torch.zeros(5, 2), torch.zeros(5, 1))
    """
    check_inputs(net, x)
    check_samples(x, y)
    if loss is mse and y.shape != (len(x), net.widths[-1]):
        labels = "" if y.is_floating_point() else "; for class labels pass loss=cross_entropy"
        raise ValueError(
            f"targets of mse have shape {tuple(y.shape)}: expected ({len(x)}, {net.widths[-1]}), as"
            f" the outputs{labels}"
        )
    if loss is cross_entropy:
        check_classes(y, net.widths[-1])


def check_precise(what: str, dtype: torch.dtype) -> None:
    """Raises TypeError unless the dtype is float32 or float64, which linear algebra takes.

    >>> check_precise("the net", torch.float32)
    """
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{what} is {dtype}: expected torch.float32 or torch.float64")


def check_kept(what: str, gap: Tensor, size: Tensor) -> None:
    """Refuse a result that breaks its promise by more than rounding.

    Args:
        what: the promise, in the message.
        gap: by how much it is missed;  size: of what was to be kept, broadcast with gap.
    Raises:
        ValueError: gap > 16 sqrt(eps) size anywhere: half of all digits are gone, as where huge
            numbers cancel.

    >>> check_kept("outputs", torch.tensor(1e-6), torch.tensor(1.0))
    """
    limit = 16 * torch.finfo(gap.dtype).eps ** 0.5 * size
    if not bool((gap <= limit).all()):
        worst = float((gap / size.clamp_min(torch.finfo(gap.dtype).tiny)).max())
        raise ValueError(
            f"{what} would change by {worst:.1g} of their size, lost in the rounding of"
            f" {gap.dtype}: expected numbers of less extreme size, or torch.float64"
        )
