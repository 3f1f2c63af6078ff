"""Least squares from its normal equations: standardised, factorised once, with the condition and
any ridge reported."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib.joint.normal import NormalEquations

# Largest condition of the standardised Gram that its products resolve: above it the smallest
# directions are rounding.
WORST_CONDITION = {torch.float32: 1e6, torch.float64: 1e12}
_ITERATIONS = 30


@dataclass(frozen=True, eq=False)
class Solution:
    """The parameters of a joint that minimise the mean squared error, and how well posed that was.

    Args:
        weight: (outputs, inputs / groups * taps), float64;  bias: (outputs,), or None for a joint
            without one.
        loss: mean squared error over images, positions and outputs; rounding below zero is given as
            zero.
        variance: of the target, mean over outputs (about zero for a joint without bias): loss /
            variance is 1 - R^2.
        condition: of the standardised Gram before any ridge, largest of the groups: a lower bound,
            mostly within 2x.
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
        ValueError: no data, or a negative ridge.

    >>> from lib.joint.geometry import Geometry
    >>> equations = NormalEquations(Geometry(1, 1, linear=True), torch.float64)
    >>> equations.add(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[1.0], [3.0], [5.0]]))
    >>> [round(p.item(), 6) for p in (solve(equations).weight, solve(equations).bias)]
    [2.0, 1.0]
    """
    if equations.count == 0:
        raise ValueError("the normal equations have seen no data: add some")
    if not ridge >= 0:
        raise ValueError(f"ridge is {ridge}: expected >= 0")
    parts = [_solve_group(equations, group, bias, ridge) for group in range(equations.shape.groups)]
    outputs = equations.shape.outputs
    used = max(p[4] for p in parts)
    return Solution(
        weight=torch.cat([p[0] for p in parts]),
        bias=torch.cat([p[1] for p in parts]) if bias else None,
        loss=max(0.0, sum(p[2].item() for p in parts) / outputs),
        variance=sum(p[3].item() for p in parts) / outputs,
        condition=max(p[5] for p in parts),
        ridge=used,
        ridge_needed=used > ridge,
        constant=sum(p[6] for p in parts),
    )


def _solve_group(equations: NormalEquations, group: int, bias: bool, ridge: float):
    count = equations.count
    gram, cross = equations.gram[group] / count, equations.cross[group] / count
    mean, mean_g = equations.inputs[group] / count, equations.outputs[group] / count
    square = equations.squares[group] / count
    # A window of a map is its sum less its border: rounding is relative to the whole channel, not
    # to the window.
    energy = gram.diagonal().reshape(-1, equations.shape.taps)
    energy = energy.amax(1, keepdim=True).expand_as(energy).flatten().clone()
    if bias:
        gram = gram - torch.outer(mean, mean)
        cross = cross - torch.outer(mean_g, mean)
        square = square - mean_g.square()
    variance = gram.diagonal()
    varies = (
        variance > 64 * torch.finfo(equations.products).eps * energy
    )  # the rest is rounding of a constant
    weight = torch.zeros_like(cross)
    if not bool(varies.any()):
        return weight, mean_g, square.sum(), square.sum(), ridge, 1.0, int((~varies).sum())
    scale = variance[varies].rsqrt()
    standard = scale[:, None] * gram[varies][:, varies] * scale
    right = cross[:, varies] * scale
    noise = (energy / variance)[varies]
    factor, used, condition = _factorise(
        standard, noise, ridge, WORST_CONDITION[equations.products]
    )
    solution = torch.cholesky_solve(right.T, factor).T
    weight[:, varies] = solution * scale
    # ||W u - g||^2 = g^2 - 2 W (g u) + W (u u) W, which is g^2 - W (g u) only without a ridge
    loss = square - 2 * (solution * right).sum(1) + (solution @ standard * solution).sum(1)
    offset = mean_g - weight @ mean if bias else None
    return weight, offset, loss.sum(), square.sum(), used, condition, int((~varies).sum())


def _factorise(
    standard: Tensor, noise: Tensor, ridge: float, worst: float
) -> tuple[Tensor, float, float]:
    """The Cholesky factor of standard + ridge, the ridge used, and the condition of `standard`.

    Args:
        noise: how much more than a unit diagonal each input's own entry is uncertain.
    """
    largest = _largest_eigenvalue(standard)
    factor, failed = torch.linalg.cholesky_ex(standard + ridge * torch.eye(len(noise)).to(standard))
    smallest = 0.0 if int(failed) else max(0.0, _smallest_eigenvalue(factor) - ridge)
    condition = largest / smallest if smallest > 0 else float("inf")
    if int(failed) or (largest + ridge) > worst * (smallest + ridge):
        ridge = max(ridge, largest / worst)
        factor, failed = torch.linalg.cholesky_ex(standard + ridge * noise.diag())
        while int(failed):  # rounding made it indefinite by more than that
            ridge *= 4
            factor, failed = torch.linalg.cholesky_ex(standard + ridge * noise.diag())
    return factor, ridge, condition


def _start(n: int, like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 1, generator=generator, dtype=like.dtype).to(like.device)


def _largest_eigenvalue(matrix: Tensor) -> float:
    v = _start(len(matrix), matrix)
    for _ in range(_ITERATIONS):
        v = matrix @ (v / v.norm())
    return v.norm().item()


def _smallest_eigenvalue(factor: Tensor) -> float:
    v = _start(len(factor), factor)
    for _ in range(_ITERATIONS):
        v = torch.cholesky_solve(v / v.norm(), factor)
    return 1 / v.norm().item()
