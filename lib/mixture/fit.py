"""Least squares for mixtures: fitting targets that are linear in all features by a part of the features."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from lib.graft import NormalEquations, geometry


def equations(joint: nn.Module, inputs: Iterable[Tensor], targets: Iterable[Tensor] | None = None) -> NormalEquations:
    """The normal equations of a joint, summed over parts of the data, for any number of channels.

    Args:
        joint: its kernel, stride and padding count, not its channels.
        inputs: features (n, channels, ...) in parts;  targets: wanted pre-activations in the same parts, or None when
            only the moments of the inputs are wanted (see `restrict`).
    Raises:
        TypeError: a joint that is neither linear nor convolutional;  ValueError: groups, or no data.
    """
    shape, total = geometry(joint), None
    if shape.groups != 1:
        raise ValueError(
            f"the joint has {shape.groups} groups: expected 1, since a mixture joins channels of all groups"
        )
    pairs = ((f, None) for f in inputs) if targets is None else zip(inputs, targets, strict=True)
    for f, t in pairs:
        if t is None:  # one target that is always zero: the moments of the inputs come along
            size = () if f.dim() == 2 else shape.output_size(*f.shape[2:])
            t = f.new_zeros(len(f), 1, *size)
        if total is None:
            sizes = replace(shape, inputs=f.shape[1], outputs=t.shape[1])
            total = NormalEquations(sizes, torch.float64, f.device)
        total.add(f, t)
    if total is None:
        raise ValueError("got no data to fit a mixture on")
    return total


def restrict(known: NormalEquations, columns: Tensor, weight: Tensor, bias: Tensor) -> NormalEquations:
    """The normal equations of fitting t = B u + b by the columns u_S alone: all of it follows from the moments of u.

    sum u_S u_S^T = G_SS,  sum t u_S^T = B G_S + b m_S^T,  sum t = B m + b n,
    sum t^2 = diag(B G B^T) + 2 b B m + b^2 n  with G = sum u u^T,
    m = sum u and n the number of images times positions.

    Args:
        known: moments of all unfolded features u.
        columns: S, indices into u.
        weight: B, (targets, len(u));  bias: b, (targets,).

    >>> from torch import nn
    >>> x = torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    >>> known = equations(nn.Linear(2, 1), [x])
    >>> part = restrict(known, torch.tensor([0]), torch.tensor([[2.0, 0.0]]).double(), torch.tensor([1.0]).double())
    >>> from lib.graft import solve
    >>> [round(float(v), 9) for v in (solve(part).weight, solve(part).bias)]
    [2.0, 1.0]
    """
    gram, mean, count = known.gram[0], known.inputs[0], known.count
    product = weight @ gram
    shape = replace(known.shape, inputs=len(columns) // known.shape.taps, outputs=len(weight))
    part = NormalEquations(shape, known.products)
    part.gram[0] = gram[columns][:, columns]
    part.cross[0] = product[:, columns] + torch.outer(bias, mean[columns])
    part.inputs[0] = mean[columns]
    part.outputs[0] = weight @ mean + bias * count
    part.squares[0] = (product * weight).sum(1) + 2 * bias * (weight @ mean) + bias.square() * count
    part.count = count
    return part


def damped(known: NormalEquations, ridge: float) -> NormalEquations:
    """The normal equations of min mean (W u + b - t)^2 + ridge * v |W|^2, with v the mean variance of the inputs.

    The penalty is on the weights themselves: a channel that hardly varies gets no large weights for the little that it
    could explain. (`lib.graft.solve` has a ridge on standardised inputs, which does not mind such weights.)

    Args:
        known: it is not changed;  ridge: >= 0.
    Raises:
        ValueError: a negative ridge.

    >>> x = torch.tensor([[-1.0, 1e-6], [1.0, 1e-6], [0.0, -2e-6]])
    >>> from lib.graft import solve
    >>> found = equations(nn.Linear(2, 1), [x], [x[:, 1:] * 1e6])
    >>> [f"{solve(damped(found, r)).weight.abs().max():.0e}" for r in (0.0, 0.01)]
    ['1e+06', '6e-04']
    """
    if not ridge >= 0:
        raise ValueError(f"ridge is {ridge}: expected >= 0")
    gram, count = known.gram[0].clone(), known.count
    spread = gram.diagonal() / count - (known.inputs[0] / count).square()
    gram.diagonal().add_(ridge * count * float(spread.mean()))
    out = copy.copy(known)
    out.gram = [gram]
    return out


def blocks(channels: Tensor, taps: int) -> Tensor:
    """The columns of u that belong to channels: taps in a row for each.

    >>> blocks(torch.tensor([0, 2]), 2)
    tensor([0, 1, 4, 5])
    """
    return (channels[:, None] * taps + torch.arange(taps)).flatten()
