"""Least squares for mixtures: fitting targets that are linear in all features by a part of the
features, with a penalty on the weights themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lib.joint.dual import fit_dual
from lib.joint.geometry import Geometry
from lib.joint.least_squares import Solution, check_ridge, solve
from lib.joint.normal import NormalEquations, Sums


def equations(
    shape: Geometry, inputs: Iterable[Tensor], targets: Iterable[Tensor] | None = None
) -> NormalEquations:
    """The normal equations of a joint, summed over parts of the data, for any number of channels.

    Args:
        shape: of the joint; its channels do not count.
        inputs: features (n, channels, ...) in parts;  targets: wanted pre-activations in the same
            parts, or None when only the moments of the inputs are wanted (see `restrict`).
    Raises:
        ValueError: groups, or no data.
    """
    if shape.groups != 1:
        raise ValueError(
            f"the joint has {shape.groups} groups: expected 1, since a mixture joins channels of"
            " all groups"
        )
    total: NormalEquations | None = None
    pairs: Iterable[tuple[Tensor, Tensor | None]] = (
        ((f, None) for f in inputs) if targets is None else zip(inputs, targets, strict=True)
    )
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
    (sums,), n = known.groups, known.count
    product, mean = weight @ sums.gram, weight @ sums.inputs
    squares = (product * weight).sum(1) + 2 * bias * mean + bias.square() * n
    cross = torch.addr(product, bias, sums.inputs)
    of_targets = Sums(sums.gram, cross, sums.inputs, mean + bias * n, squares, sums.energy)
    return replace(known, shape=replace(known.shape, outputs=len(weight)), groups=[of_targets])


def restrict(known: NormalEquations, columns: Tensor, targets: Tensor) -> NormalEquations:
    """The normal equations of fitting some of the targets by some of the columns of u alone.

    Args:
        known: of all targets and columns;  columns: indices into u;  targets: indices.

    >>> x = torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    >>> moments = equations(Geometry(2, 1, linear=True), [x])
    >>> weight, bias = torch.tensor([[2.0, 0.0]]).double(), torch.tensor([1.0]).double()
    >>> known = with_targets(moments, weight, bias)
    >>> found = solve(restrict(known, torch.tensor([0]), torch.tensor([0])))
    >>> [round(float(v), 9) for v in (found.weight, found.bias)]
    [2.0, 1.0]
    """
    (sums,), inputs = known.groups, len(columns) // known.shape.taps
    part = Sums(
        sums.gram.index_select(0, columns).index_select(1, columns),
        sums.cross.index_select(0, targets).index_select(1, columns),
        sums.inputs[columns],
        sums.outputs[targets],
        sums.squares[targets],
        sums.energy[columns],
    )
    shape = replace(known.shape, inputs=inputs, outputs=len(targets))
    return replace(known, shape=shape, groups=[part])


def fit_joint(known: NormalEquations, ridge: float) -> Solution:
    """min over (W, b) of mean |W u + b - t|^2 + ridge * v |W|^2, v the mean variance of the inputs.

    The penalty is on the weights themselves, so that a channel which hardly varies gets no large
    weights for the little that it could explain. (The ridge of `solve` is on standardised inputs,
    which does not mind such weights.) It also bounds the condition, so one Cholesky factorisation
    does; without a ridge this is `solve`.

    Args:
        known: for one group;  ridge: >= 0.
    Returns:
        The solution; its loss is the mean squared error alone.
    Raises:
        ValueError: a ridge that is negative or not finite.

    >>> x = torch.tensor([[-1.0, 1e-6], [1.0, 1e-6], [0.0, -2e-6]])
    >>> found = equations(Geometry(2, 1, linear=True), [x], [x[:, 1:] * 1e6])
    >>> [f"{fit_joint(found, r).weight.abs().max():.0e}" for r in (0.0, 0.01)]
    ['1e+06', '6e-04']
    """
    check_ridge(ridge)
    (sums,), n = known.groups, known.count
    mean, mean_t = sums.inputs / n, sums.outputs / n
    gram = torch.addr(sums.gram / n, mean, mean, alpha=-1)
    cross = torch.addr(sums.cross / n, mean_t, mean, alpha=-1)
    pull = ridge * float(gram.diagonal().mean())
    gram.diagonal().add_(pull)
    factor, failed = torch.linalg.cholesky_ex(gram)
    if ridge == 0 or int(failed):
        return solve(known)
    weight = torch.cholesky_solve(cross.mT, factor).mT
    variance = sums.squares / n - mean_t.square()
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


def fit_features(
    shape: Geometry, inputs: Sequence[Tensor], targets: Sequence[Tensor], ridge: float
) -> Solution:
    """`fit_joint` of targets on features given in parts, by whichever of the two forms has the
    smaller matrix.

    Args:
        shape: of the joint; its channels do not count.
        inputs: features (n, channels, ...);  targets: wanted pre-activations in the same parts;
            ridge: >= 0.

    >>> x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    >>> fit_features(Geometry(8, 1, linear=True), [x], [x[:, :1]], 0.01).weight.shape
    torch.Size([1, 8])
    """
    first = inputs[0]
    unknowns = first.shape[1] * shape.taps
    samples = sum(map(len, inputs)) * max(first[0, 0].numel(), targets[0][0, 0].numel())
    if ridge > 0 and shape.groups == 1 and samples < unknowns:
        return fit_dual(shape, torch.cat(list(inputs)), torch.cat(list(targets)), ridge)
    return fit_joint(equations(shape, inputs, targets), ridge)


def blocks(channels: Tensor, taps: int) -> Tensor:
    """The columns of u that belong to channels: taps in a row for each.

    >>> blocks(torch.tensor([0, 2]), 2)
    tensor([0, 1, 4, 5])
    """
    return (channels[:, None] * taps + torch.arange(taps)).flatten()
