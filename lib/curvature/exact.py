"""Exact Hessians of the empirical risk, batched, within a stated amount of memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.curvature import lanes
from lib.curvature.analytic import parts
from lib.curvature.jets import CLOSED_FORM
from lib.nets import MLP, Loss, flatten, mse, risk, unflatten
from lib.nets.dense import check_parameters, check_problem
from lib.nets.samples import check_samples

MEMORY = 2 * 2**30  # bytes
CACHE = (
    10 * 2**20
)  # bytes of working arrays a chunk: smaller ones cost calls, larger ones fall out of the cache


@dataclass(frozen=True)
class Decomposition:
    """H = gauss_newton + second_order, both (*batch, M, M).

    Args:
        gauss_newton: H^(1) = E sum_ij (d2 loss/df_i df_j) grad f_i grad f_j^T, positive
            semi-definite for convex losses.
        second_order: H^(2) = E sum_i (d loss/df_i) grad^2 f_i, zero wherever the residual is.
    """

    gauss_newton: Tensor
    second_order: Tensor

    @property
    def total(self) -> Tensor:
        """The Hessian, their sum."""
        return self.gauss_newton + self.second_order


def hessian(net: MLP, x: Tensor, y: Tensor, loss: Loss = mse, *, memory: int = MEMORY) -> Tensor:
    """The exact Hessian of R_S, symmetric, one matrix a net.

    H_pq = d^2 R_S / d theta_p d theta_q, in the order of `lib.nets.mlp.flatten`. In closed form for
    `mse` and `cross_entropy`, by double backward, row by row, for any other loss.

    Args:
        net: float64, any depth and batch.
        x: inputs (n, m_0);  y: targets, as `loss` takes them.
        memory: bytes that the result and the working arrays may take. The batch is worked through
            in chunks that fit.
    Returns:
        (*batch, M, M).
    Raises:
        TypeError: net or data are not float64.
        ValueError: shapes do not match, no samples, numbers that are not finite, labels outside the
            classes, or not even one net at a time fits into `memory` (the size
            needed is named).

    >>> from lib.nets import init
    >>> net = init((1, 2, 1), batch=(4,), output_bias=False, generator=0)
    >>> x = torch.ones(5, 1, dtype=torch.float64)
    >>> hessian(net, x, 0 * x).shape
    torch.Size([4, 6, 6])
    """
    check_samples(x, y)
    x, y = x.detach(), y.detach()
    if lanes.fits(net, loss):
        return _in_lanes(net, x, y, loss, memory, split=False)[0]

    def in_closed_form(piece: MLP) -> tuple[Tensor]:
        first, second = parts(piece, x, y, loss)
        return (first + second,)

    def by_autograd(piece: MLP) -> tuple[Tensor]:
        theta = flatten(piece).requires_grad_()
        with torch.enable_grad():
            # Nets of a batch do not interact: one backward pass gives row i of every net's Hessian.
            (slope,) = torch.autograd.grad(
                risk(unflatten(theta, piece), x, y, loss).sum(), theta, create_graph=True
            )
            rows = [
                torch.autograd.grad(s.sum(), theta, retain_graph=True)[0] for s in slope.unbind(-1)
            ]
        return (torch.stack(rows, -2),)

    compute = in_closed_form if loss in CLOSED_FORM else by_autograd
    return _chunked(net, x, y, loss, memory, 1, compute)[0]


def decompose(
    net: MLP, x: Tensor, y: Tensor, loss: Loss = mse, *, memory: int = MEMORY
) -> Decomposition:
    """The Gauss-Newton part H^(1) and the part H^(2) that the net's own curvature makes (Zhang et
    al. 2022, Sec. 6).

    Args, Raises: as `hessian`; and ValueError for a loss other than `mse` and `cross_entropy`.
    Returns:
        A `Decomposition` of two (*batch, M, M).

    >>> from lib.nets import init
    >>> net, one = init((1, 2, 1), generator=0), torch.ones(5, 1, dtype=torch.float64)
    >>> parts = decompose(net, one, one)
    >>> torch.allclose(parts.total, hessian(net, one, one))
    True
    """
    if loss not in CLOSED_FORM:
        raise ValueError(
            f"loss {loss!r} has no closed form here: expected lib.nets.losses.mse or"
            " lib.nets.losses.cross_entropy"
        )
    check_samples(x, y)
    x, y = x.detach(), y.detach()
    if lanes.fits(net, loss):
        return Decomposition(*_in_lanes(net, x, y, loss, memory, split=True))
    return Decomposition(
        *_chunked(net, x, y, loss, memory, 2, lambda piece: parts(piece, x, y, loss))
    )


def working_bytes(net: MLP, n: int, loss: Loss = mse) -> int:
    """Bytes of working arrays that `hessian` takes for one net of the batch and n samples, its
    result aside.

    >>> from lib.nets import init
    >>> working_bytes(init((1, 500, 1), output_bias=False, generator=0), 50) / 2**20 < 100
    True
    """
    size, neurons = net.n_parameters, sum(net.widths[1:])
    if (
        loss not in CLOSED_FORM
    ):  # autograd keeps the graph of a gradient, and adds one of its gradient
        return 8 * (24 * n * neurons + 3 * size**2)
    if lanes.fits(
        net, loss
    ):  # sums of eight nets at a time: beside the matrices two copies of the parameters
        return 8 * 4 * size
    if net.depth == 2 and loss is mse:
        d, m, k = (w + 1 for w in net.widths)
        rows = m * (d + 1)
        return 8 * (rows * n + 6 * neurons * n + 2 * rows**2 + k * rows * m + 3 * size**2)
    used, reach = 0, 0
    for layer, w in enumerate(net.weights):
        reach += w.shape[-2] * (w.shape[-1] + (net.biases[layer] is not None))
        # P_l, P_l times a weight, df/dtheta; the first hidden layer keeps its diagonal blocks alone
        copies = 1 if layer == 0 and net.depth > 1 else w.shape[-2]
        used = max(used, 3 * reach * copies * n)
    return 8 * (used + 6 * neurons * n + 3 * size**2)


def _in_lanes(
    net: MLP, x: Tensor, y: Tensor, loss: Loss, memory: int, split: bool
) -> tuple[Tensor, ...]:
    flat, _ = _checked(net, x, y, loss, memory, 1 + split)
    found = lanes.hessians(flat, x, y, loss, split)
    return tuple(h.reshape(*net.batch, *h.shape[1:]) for h in found)


def _chunked(
    net: MLP,
    x: Tensor,
    y: Tensor,
    loss: Loss,
    memory: int,
    outputs: int,
    compute: Callable[[MLP], tuple[Tensor, ...]],
) -> tuple[Tensor, ...]:
    """compute on pieces of the flattened batch, symmetrised: `outputs` tensors (*batch, M, M)."""
    flat, step = _checked(net, x, y, loss, memory, outputs)
    nets, size = flat.batch[0], net.n_parameters
    found = tuple(flat.weights[0].new_empty(nets, size, size) for _ in range(outputs))
    with torch.no_grad():
        for start in range(0, nets, step):
            piece = slice(start, start + step)
            for out, h in zip(found, compute(flat[piece]), strict=True):
                torch.add(h, h.mT, out=out[piece]).div_(2)
    return tuple(out.reshape(*net.batch, size, size) for out in found)


def _checked(
    net: MLP, x: Tensor, y: Tensor, loss: Loss, memory: int, outputs: int
) -> tuple[MLP, int]:
    """The nets with one batch dimension, and how many fit at a time; or an error."""
    _check_float64(net, x, y)
    nets, size = net.batch.numel(), net.n_parameters
    flat = net.map(lambda p: p.detach().reshape(nets, *p.shape[len(net.batch) :]))
    check_parameters(net)
    check_problem(net, x, y, loss)
    with torch.no_grad():
        risk(flat[:1], x, y, loss)  # names any other mismatch, at the cost of one net
    each, result = working_bytes(net, x.shape[0], loss), 8 * outputs * nets * size**2
    if result + each > memory:
        raise ValueError(
            f"the Hessian of {net} on {x.shape[0]} samples needs {(result + each) / 2**30:.3g} GiB"
            f" ({result / 2**30:.3g} of it for the result): memory allows {memory / 2**30:.3g}."
            " Pass fewer nets or more memory, or use hvp and extreme_eigenvalues, which form no"
            " matrix"
        )
    return flat, max(1, min(CACHE, memory - result) // each)


def _check_float64(net: MLP, *data: Tensor) -> None:
    if net.dtype != torch.float64:
        raise TypeError(f"the net is {net.dtype}: curvature is float64; pass net.to(torch.float64)")
    for name, t in zip(("x", "y"), data, strict=True):
        if t.is_floating_point() and t.dtype != torch.float64:
            raise TypeError(f"{name} is {t.dtype}: expected torch.float64, as the net")
