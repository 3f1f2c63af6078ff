"""Curvature of large nets without forming a matrix: Hessian-vector products and extreme
eigenvalues."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

from lib.nets import MLP, Loss, flatten, mse, risk, unflatten
from lib.nets.checks import check_index, check_single
from lib.nets.dense import check_parameters, check_problem


@dataclass(frozen=True)
class ExtremeEigenvalues:
    """The k largest or smallest (algebraic) eigenvalues of one net's Hessian.

    Args:
        values: (k,), ascending.
        vectors: (k, M), unit rows, in the order of `lib.nets.mlp.flatten`.
        residuals: (k,): ||H v - lambda v||; each value lies within its residual of an eigenvalue.
    """

    values: Tensor
    vectors: Tensor
    residuals: Tensor


def hvp(net: MLP, x: Tensor, y: Tensor, v: Tensor, loss: Loss = mse) -> Tensor:
    """H v for every net of the batch: the gradient's own transposed derivative, H^T v = H v, about
    two more gradients.

    Args:
        v: (*batch, M), in the order of `lib.nets.mlp.flatten`, of the net's dtype.
    Returns:
        (*batch, M).
    Raises:
        ValueError: v is not (*batch, M).

    >>> net = MLP((torch.ones(1, 1),))
    >>> hvp(net, torch.ones(4, 1), torch.zeros(4, 1), torch.tensor([3.0]))
    tensor([6.])
    """
    if v.shape != (*net.batch, net.n_parameters):
        raise ValueError(
            f"vector has shape {tuple(v.shape)}: expected {(*net.batch, net.n_parameters)} for"
            f" {net}"
        )
    theta = flatten(net).detach().requires_grad_()
    # Nets of a batch do not interact: the gradient of the sum holds every net's own gradient.
    with torch.enable_grad():
        total = risk(unflatten(theta, net), x.detach(), y.detach(), loss).sum()
        (slope,) = torch.autograd.grad(total, theta, create_graph=True)
        return torch.autograd.grad(slope, theta, v.detach())[0]


def extreme_eigenvalues(
    net: MLP,
    x: Tensor,
    y: Tensor,
    loss: Loss = mse,
    *,
    k: int = 1,
    which: str = "smallest",
    seed: int = 0,
) -> ExtremeEigenvalues:
    """The k smallest or largest eigenvalues of one net's Hessian by Lanczos iteration (ARPACK),
    matrix-free.

    Args:
        net: one float64 net.
        k: how many, 1 <= k < M.
        which: "smallest" (most negative) or "largest".
        seed: of the starting vector.
    Returns:
        An `ExtremeEigenvalues`.
    Raises:
        TypeError: the net is not float64.
        ValueError: a batch of nets, k outside 1..M-1, or another `which`.
        RuntimeError: Lanczos did not converge.

    >>> from lib.nets import init
    >>> x = torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None]
    >>> net = init((1, 30, 1), generator=0)
    >>> found = extreme_eigenvalues(net, x, x, k=2, which="largest")
    >>> float(found.residuals.max()) < 1e-8
    True
    """
    check_single(net)
    if net.dtype != torch.float64:
        raise TypeError(f"the net is {net.dtype}: curvature is float64; pass net.to(torch.float64)")
    check_parameters(net)
    check_problem(net, x, y, loss)
    check_index("k", k)
    if not 1 <= k < net.n_parameters:
        raise ValueError(f"k is {k}: expected 1..{net.n_parameters - 1} for {net}")
    if which not in ("smallest", "largest"):
        raise ValueError(f"which is {which!r}: expected 'smallest' or 'largest'")

    def apply(v: np.ndarray) -> np.ndarray:
        vector = torch.from_numpy(np.ascontiguousarray(v).reshape(-1)).to(net.device)
        return hvp(net, x, y, vector, loss).cpu().numpy()

    m = net.n_parameters
    start = np.random.default_rng(seed).standard_normal(m)
    operator = LinearOperator((m, m), matvec=apply, dtype=np.float64)
    try:
        values, vectors = eigsh(
            operator, k=k, which="SA" if which == "smallest" else "LA", v0=start
        )
    except ArpackNoConvergence as stopped:
        raise RuntimeError(
            f"Lanczos found {len(stopped.eigenvalues)} of {k} eigenvalues of {net}: ask for fewer"
        ) from None
    order = np.argsort(values)
    values, rows = values[order], np.ascontiguousarray(vectors[:, order].T)
    residuals = [np.linalg.norm(apply(v) - e * v) for e, v in zip(values, rows, strict=True)]
    return ExtremeEigenvalues(
        torch.from_numpy(values),
        torch.from_numpy(rows),
        torch.tensor(residuals, dtype=torch.float64),
    )
