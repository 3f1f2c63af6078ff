"""Least squares from its normal equations: standardised, factorised once, with the condition and
any ridge reported."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.joint.normal import NormalEquations, Sums

# Largest condition of the standardised Gram that its products resolve: above it the smallest
# directions are rounding.
WORST_CONDITION = {torch.float32: 1e6, torch.float64: 1e12}
_TRIES = 100  # of a ridge four times as large; 30 reach from the smallest to 1


@dataclass(frozen=True, eq=False)
class Solution:
    """The parameters of a joint that minimise the mean squared error, and how well posed that was.

    Args:
        weight: (outputs, inputs / groups * taps), float64;  bias: (outputs,), or None for a joint
            without one.
        loss: mean squared error over images, positions and outputs; rounding below zero is given as
            zero.
        variance: of the target, mean over outputs (about zero for a joint without bias).
        condition: of the standardised Gram before any ridge, largest of the groups; NaN where it
            was not needed.
        ridge: added to its unit diagonal, largest of the groups; 0 for the plain solution. One that
            was needed is larger for inputs that barely vary, by their mean square over their
            variance.
        ridge_needed: whether it was added because the Gram was singular to its precision, not
            because it was asked for.
        constant: inputs that never vary; their weights are zero.
    """

    weight: Tensor
    bias: Tensor | None
    loss: float
    variance: float
    condition: float
    ridge: float
    ridge_needed: bool
    constant: int

    @property
    def relative(self) -> float:
        """loss / variance = 1 - R^2: 0 is a perfect match, 1 no better than the mean."""
        return self.loss / self.variance if self.variance > 0 else 0.0


@dataclass(frozen=True, eq=False)
class _Part:
    """The solution of one group; loss and variance are sums over its outputs."""

    weight: Tensor
    bias: Tensor
    loss: float
    variance: float
    ridge: float
    condition: float
    constant: int


def solve(equations: NormalEquations, *, bias: bool = True, ridge: float = 0.0) -> Solution:
    """Minimise sum ||W u + b - g||^2 over W and b.

    The bias is eliminated first (inputs are centred), inputs that never vary are dropped, the
    others are scaled to unit variance, and the Gram is factorised by Cholesky. If its condition is
    beyond what its products resolve (`WORST_CONDITION`), the ridge that makes it just resolvable is
    added, and the result says so.

    Args:
        equations: summed over the data.
        bias: whether the joint has one.
        ridge: added to the diagonal of the standardised Gram, >= 0.
    Raises:
        ValueError: no data, or a ridge that is negative or not finite.

    >>> from lib.joint.geometry import Geometry
    >>> equations = NormalEquations(Geometry(1, 1, linear=True), torch.float64)
    >>> equations.add(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[1.0], [3.0], [5.0]]))
    >>> [round(p.item(), 6) for p in (solve(equations).weight, solve(equations).bias)]
    [2.0, 1.0]
    """
    check_ridge(ridge)
    if equations.count == 0:
        raise ValueError("the normal equations have seen no data: add some")
    parts = [_solve_group(equations, sums, bias, ridge) for sums in equations.groups]
    outputs = equations.shape.outputs
    used = max(p.ridge for p in parts)
    return Solution(
        weight=torch.cat([p.weight for p in parts]),
        bias=torch.cat([p.bias for p in parts]) if bias else None,
        loss=sum(p.loss for p in parts) / outputs,
        variance=sum(p.variance for p in parts) / outputs,
        condition=max(p.condition for p in parts),
        ridge=used,
        ridge_needed=used > ridge,
        constant=sum(p.constant for p in parts),
    )


def check_ridge(ridge: float) -> None:
    """Raises ValueError unless a ridge is a finite number >= 0."""
    if not 0 <= ridge < math.inf:
        raise ValueError(f"ridge is {ridge}: expected a finite number >= 0")


def _solve_group(equations: NormalEquations, sums: Sums, bias: bool, ridge: float) -> _Part:
    count = equations.count
    gram, cross, square = sums.gram / count, sums.cross / count, sums.squares / count
    mean, mean_g = sums.inputs / count, sums.outputs / count
    # A window of a map is its sum less its border: rounding is relative to the whole channel, not
    # to the window.
    energy = (sums.energy / count).reshape(-1, equations.shape.taps)
    energy = energy.amax(1, keepdim=True).expand_as(energy).flatten().clone()
    if bias:
        gram = gram - torch.outer(mean, mean)
        cross = cross - torch.outer(mean_g, mean)
        # what is left of a target that never varies is rounding
        square = varying(square - mean_g.square(), square, torch.float64)
    variance = gram.diagonal()
    varies = varying(variance, energy, equations.products) > 0
    weight, constant, total = torch.zeros_like(cross), int((~varies).sum()), float(square.sum())
    if not bool(varies.any()):
        return _Part(weight, mean_g, total, total, ridge, 1.0, constant)
    scale = variance[varies].rsqrt()
    standard = scale[:, None] * gram[varies][:, varies] * scale
    right = cross[:, varies] * scale
    noise = (energy / variance)[varies]
    worst = WORST_CONDITION[equations.products]
    factor, used, condition = _factorise(standard, noise, ridge, worst)
    solution = torch.cholesky_solve(right.T, factor).T
    weight[:, varies] = solution * scale
    # ||W u - g||^2 = g^2 - 2 W (g u) + W (u u) W, which is g^2 - W (g u) only without a ridge
    loss = square - 2 * (solution * right).sum(1) + (solution @ standard * solution).sum(1)
    offset = mean_g - weight @ mean
    return _Part(weight, offset, max(0.0, float(loss.sum())), total, used, condition, constant)


def varying(variance: Tensor, energy: Tensor, products: torch.dtype) -> Tensor:
    """The variances, zero where they are no more than the rounding of their mean square."""
    return torch.where(variance > 64 * torch.finfo(products).eps * energy, variance, 0.0)


def _factorise(
    standard: Tensor, noise: Tensor, ridge: float, worst: float
) -> tuple[Tensor, float, float]:
    """The Cholesky factor of standard + ridge, the ridge used, and the condition of `standard`.

    Args:
        noise: how much more than a unit diagonal each input's own entry is uncertain.
    """
    eigenvalues = torch.linalg.eigvalsh(standard)
    smallest, largest = max(0.0, float(eigenvalues[0])), float(eigenvalues[-1])
    condition = largest / smallest if smallest > 0 else math.inf
    penalty = ridge * torch.ones_like(noise)
    if (largest + ridge) > worst * (smallest + ridge):
        ridge = max(ridge, largest / worst)
        penalty = ridge * noise
    for _ in range(_TRIES):
        factor, failed = torch.linalg.cholesky_ex(standard + penalty.diag())
        if not int(failed):
            return factor, ridge, condition
        ridge *= 4  # rounding made it indefinite by more than that
        penalty = ridge * noise
    raise ValueError(
        f"no ridge up to {ridge:.1e} makes the Gram positive definite: scale the data, and expect"
        " finite features"
    )
