"""Least squares for mixtures: fitting targets that are linear in all features by a part of the
features."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from lib.joint.geometry import Geometry, geometry
from lib.joint.normal import NormalEquations
from lib.joint.ridge import Solution, solve


def equations(
    joint: nn.Module, inputs: Iterable[Tensor], targets: Iterable[Tensor] | None = None
) -> NormalEquations:
    """The normal equations of a joint, summed over parts of the data, for any number of channels.

    Args:
        joint: its kernel, stride and padding count, not its channels.
        inputs: features (n, channels, ...) in parts;  targets: wanted pre-activations in the same
            parts, or None when only the moments of the inputs are wanted (see `restrict`).
    Raises:
        TypeError: a joint that is neither linear nor convolutional;  ValueError: groups, or no
            data.
    """
    shape, total = geometry(joint), None
    if shape.groups != 1:
        raise ValueError(
            f"the joint has {shape.groups} groups: expected 1, since a mixture joins channels of"
            " all groups"
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


def with_targets(known: NormalEquations, weight: Tensor, bias: Tensor) -> NormalEquations:
    """The normal equations of the targets t = B u + b, which follow from the moments of u.

    sum t u^T = B G + b m^T,  sum t = B m + b n,  sum t^2 = diag(B G B^T) + 2 b B m + b^2 n  with
    G = sum u u^T, m = sum u and n the number of images times positions.

    Args:
        known: moments of all unfolded features u, whatever its targets.
        weight: B, (targets, len(u));  bias: b, (targets,).
    """
    gram, mean, count = known.gram[0], known.inputs[0], known.count
    product = weight @ gram
    out = _empty(replace(known.shape, outputs=len(weight)), known)
    out.gram[0], out.inputs[0], out.count = gram, mean, count
    out.cross[0] = torch.addr(product, bias, mean)
    out.outputs[0] = weight @ mean + bias * count
    out.squares[0] = (product * weight).sum(1) + 2 * bias * (weight @ mean) + bias.square() * count
    return out


def restrict(known: NormalEquations, columns: Tensor, rows: Tensor) -> NormalEquations:
    """The normal equations of fitting some of the targets by some of the columns of u alone.

    Args:
        known: of all targets and columns;  columns: indices into u;  rows: indices into the
            targets.

    >>> x = torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    >>> moments = equations(nn.Linear(2, 1), [x])
    >>> known = with_targets(moments, torch.tensor([[2.0, 0.0]]).double(), torch.tensor([1.0]).double())
    >>> part = restrict(known, torch.tensor([0]), torch.tensor([0]))
    >>> [round(float(v), 9) for v in (solve(part).weight, solve(part).bias)]
    [2.0, 1.0]
    """
    part = _empty(
        replace(known.shape, inputs=len(columns) // known.shape.taps, outputs=len(rows)), known
    )
    part.gram[0] = known.gram[0].index_select(0, columns).index_select(1, columns)
    part.cross[0] = known.cross[0].index_select(0, rows).index_select(1, columns)
    part.inputs[0], part.outputs[0] = known.inputs[0][columns], known.outputs[0][rows]
    part.squares[0] = known.squares[0][rows]
    part.count = known.count
    return part


def _empty(shape: Geometry, like: NormalEquations) -> NormalEquations:
    """Equations of that shape whose sums are set one by one."""
    out = NormalEquations(replace(shape, inputs=0, outputs=0), like.products)
    out.shape = shape
    return out


def fit_joint(known: NormalEquations, ridge: float) -> Solution:
    """min over (W, b) of mean |W u + b - t|^2 + ridge * v |W|^2, v the mean variance of the inputs.

    The penalty is on the weights themselves, so that a channel which hardly varies gets no large
    weights for the little that it could explain. (The ridge of `lib.joint.ridge` is on standardised
    inputs, which does not mind such weights.) It also bounds the condition, so one Cholesky
    factorisation does; without a ridge this is `lib.joint.ridge`.

    Args:
        known: for one group;  ridge: >= 0.
    Returns:
        The solution; its loss is the mean squared error alone.
    Raises:
        ValueError: a negative ridge.

    >>> x = torch.tensor([[-1.0, 1e-6], [1.0, 1e-6], [0.0, -2e-6]])
    >>> found = equations(nn.Linear(2, 1), [x], [x[:, 1:] * 1e6])
    >>> [f"{fit_joint(found, r).weight.abs().max():.0e}" for r in (0.0, 0.01)]
    ['1e+06', '6e-04']
    """
    if not ridge >= 0:
        raise ValueError(f"ridge is {ridge}: expected >= 0")
    n, mean, mean_t = known.count, known.inputs[0] / known.count, known.outputs[0] / known.count
    gram = torch.addr(known.gram[0] / n, mean, mean, alpha=-1)
    cross = torch.addr(known.cross[0] / n, mean_t, mean, alpha=-1)
    pull = ridge * float(gram.diagonal().mean())
    gram.diagonal().add_(pull)
    factor, failed = torch.linalg.cholesky_ex(gram)
    if ridge == 0 or int(failed):
        return solve(known)
    weight = torch.cholesky_solve(cross.mT, factor).mT
    variance = known.squares[0] / n - mean_t.square()
    # (G + pull) W = cross, so W G W = W cross - pull W^2
    loss = variance.sum() - (weight * cross).sum() - pull * weight.square().sum()
    outputs = len(mean_t)
    return Solution(
        weight=weight,
        bias=mean_t - weight @ mean,
        loss=max(0.0, float(loss) / outputs),
        variance=float(variance.sum()) / outputs,
        condition=float("nan"),
        ridge=ridge,
        ridge_needed=False,
        constant=0,
    )


def blocks(channels: Tensor, taps: int) -> Tensor:
    """The columns of u that belong to channels: taps in a row for each.

    >>> blocks(torch.tensor([0, 2]), 2)
    tensor([0, 1, 4, 5])
    """
    return (channels[:, None] * taps + torch.arange(taps)).flatten()
