"""Linear algebra that operators share: numerical rank with its gap, Jacobians, and the matrix of an
affine operator."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.nets import MLP, flatten, unflatten


@dataclass(frozen=True, eq=False)
class Rank:
    """A numerical rank and how clearly the singular values decide it.

    Args:
        value: the rank (*batch), int64.
        gap: last singular value counted over the first that is not (*batch): inf at full rank or
            when the rest is 0.
        singular_values: (*batch, min(rows, columns)), descending.
    """

    value: Tensor
    gap: Tensor
    singular_values: Tensor


def rank(matrix: Tensor, *, tolerance: float | None = None, clear: float = 1e3) -> Rank:
    """The number of singular values above tolerance * (the largest one), with the gap to the next.

    Args:
        matrix: (*batch, rows, columns).
        tolerance: relative threshold; default max(rows, columns) * eps * 32 of the dtype.
        clear: smallest gap to accept.
    Raises:
        ValueError: the gap is below `clear`, so that the rank is a matter of taste; or the matrix
            is not finite.

    >>> found = rank(torch.diag(torch.tensor([3.0, 1.0, 0.0], dtype=torch.float64)))
    >>> int(found.value), float(found.gap)
    (2, inf)
    """
    if matrix.dim() < 2 or not torch.isfinite(matrix).all():
        raise ValueError(
            f"matrix of shape {tuple(matrix.shape)}: expected (*batch, rows, columns) of finite"
            " numbers"
        )
    s = torch.linalg.svdvals(matrix)
    counted = above_rounding(s, matrix.shape, tolerance)
    value = counted.sum(-1)
    last = torch.where(counted, s, math.inf).amin(-1)
    first = torch.where(counted, 0.0, s).amax(-1)
    gap = torch.where(value == 0, math.inf, last / first)
    if not (gap >= clear).all():
        raise ValueError(
            f"singular values show no clear rank: {float(last.flatten()[gap.argmin()]):.3g} is"
            f" counted, {float(first.flatten()[gap.argmin()]):.3g} is not, a gap below {clear:g};"
            " set tolerance"
        )
    return Rank(value, gap, s)


def above_rounding(
    singular_values: Tensor, shape: Sequence[int], tolerance: float | None = None
) -> Tensor:
    """Which singular values count: those above tolerance * (the largest one). The one rule of rank.

    Args:
        singular_values: (*batch, k), descending, of matrices of this shape.
        tolerance: default max(rows, columns) * eps * 32 of the dtype.

    >>> above_rounding(torch.tensor([2.0, 1e-3, 1e-9]), (3, 5))
    tensor([ True,  True, False])
    """
    if tolerance is None:
        tolerance = max(shape[-2:]) * torch.finfo(singular_values.dtype).eps * 32
    return singular_values > tolerance * singular_values[..., :1]


def jacobian(output: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """d output / d inputs as one matrix, row by row with plain reverse-mode differentiation.

    For some hundred rows. `torch.func` would do as well, but its first use in a process imports a
    compiler, about 5 s.

    Args:
        output: any shape with m entries, computed from the inputs.
        inputs: tensors with requires_grad and N entries in all.
    Returns:
        (m, N), detached; zero where the output does not depend on an input.

    >>> t = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> jacobian(t.square(), [t])
    tensor([[2., 0.],
            [0., 4.]])
    """
    rows = []
    for entry in output.flatten():
        found = torch.autograd.grad(entry, inputs, retain_graph=True, materialize_grads=True)
        rows.append(torch.cat([d.flatten() for d in found]))
    return torch.stack(rows)


@dataclass(frozen=True, eq=False)
class AffineMap:
    """theta' = A theta + c on flattened parameters.

    Args:
        matrix: A, (*batch, M', M).
        offset: c, (*batch, M').
    """

    matrix: Tensor
    offset: Tensor


def affine_map(operator: Callable[[MLP], MLP], like: MLP) -> AffineMap:
    """The matrix of an affine operator, read off its values: A e_i = operator(e_i) - operator(0),
    one batch of M nets.

    Args:
        operator: affine, MLP -> MLP, acting on leading batch dimensions.
        like: a net, or batch of nets, whose shapes it takes; its values do not matter.
    Raises:
        ValueError: operator is not affine (tested at the net `like` itself).

    >>> from lib.nets import init
    >>> from lib.width import split
    >>> net = init((1, 1, 1), output_bias=False, generator=0)
    >>> affine_map(lambda theta: split(theta, 1, 0, 0.25), net).matrix.int()[0:2]
    tensor([[1, 0, 0],
            [1, 0, 0]], dtype=torch.int32)
    """
    m, batch = like.n_parameters, like.batch
    basis = (
        torch.eye(m, dtype=like.dtype, device=like.device)
        .reshape(m, *(1,) * len(batch), m)
        .expand(m, *batch, m)
    )
    zero = flatten(operator(unflatten(torch.zeros_like(basis[0]), like)))
    matrix = (flatten(operator(unflatten(basis, like))) - zero).movedim(0, -1)
    theta = flatten(like).detach()
    image = flatten(operator(like)).detach()
    linear = (matrix @ theta.unsqueeze(-1)).squeeze(-1) + zero
    scale = (matrix.abs() @ theta.abs().unsqueeze(-1)).squeeze(-1) + zero.abs()
    eps = 64 * torch.finfo(like.dtype).eps
    if not ((linear - image).abs() <= eps * (1 + scale)).all():
        raise ValueError(
            f"operator differs by {float((linear - image).abs().max()):g} from its linear part:"
            " expected an affine one"
        )
    return AffineMap(matrix, zero)
