"""Certificates of operators on fully connected nets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from lib.certificate.report import Certificate
from lib.certificate.zeros import promised_zeros
from lib.curvature import Inertia, hessian, inertia
from lib.linear import affine_map
from lib.nets import MLP, Loss, flatten, forward, gradient, mse, risk
from lib.nets.dense import as_dense, check_inputs, check_problem
from lib.width.embeddings import Embedding

CRITICAL = 1e-8  # L1 norm of a gradient up to which a point is called critical


class CriticalEmbedding(Protocol):
    """An affine operator theta -> A theta + c that knows the transport C of gradients."""

    def __call__(self, net: MLP) -> MLP: ...

    def transport(self, gradient: MLP) -> MLP: ...


def certify(
    net: MLP | nn.Sequential,
    x: Tensor,
    y: Tensor,
    loss: Loss = mse,
    *,
    after: MLP | nn.Sequential | CriticalEmbedding,
    off_sample: Tensor | None = None,
    predicted_zeros: int | Tensor | None = None,
    spectrum: Callable[[Tensor], Inertia] | None = inertia,
) -> Certificate:
    """Measure what leads from one net to another on the sample (x, y).

    Of any pair of nets: outputs, risks, gradients, inertia. If `after` is an embedding, also the
    identities that hold at every theta, critical or not, because R'(A theta + c) = R(theta):

        grad R' = C grad R,   A^T H' A = H,   H' A = C H.

    Args:
        net: before, one net or a batch;  x: inputs (n, m_0);  y: targets.
        after: the net that it became, with the same batch; or the embedding that is applied to it,
            a `lib.width.Embedding` or anything like it.
        off_sample: other inputs (n', m_0), e.g. far outside the data.
        predicted_zeros: zero modes expected at a critical point. Default, for one net and a
            `lib.width.Embedding`: `promised_zeros`, if its gradient's L1 norm is at most
            `CRITICAL`; else none.
        spectrum: counts the eigenvalues of a Hessian (M' x M', float64), e.g. with a threshold of
            one's own; None for large nets, to compute no Hessians.
    Returns:
        A `Certificate`; print it for a table.
    Raises:
        ValueError: batches, in- or outputs differ; or, as NoSpectralGap, eigenvalues without a
            clear gap between zero and non-zero.
    Source: (Zhang et al. 2021, Prop. 1 and Thm 1; Zhang et al. 2022, Thm 6.2).

    >>> from lib.critical import plant
    >>> from lib.nets import init
    >>> from lib.width import embedding
    >>> g = torch.Generator().manual_seed(1)
    >>> net, x = init((1, 2, 1), generator=0), torch.randn(20, 1, generator=g, dtype=torch.float64)
    >>> y = plant(net, x, g, residual=0.01)
    >>> found = certify(net, x, y, after=embedding(net, [(1, 0, 0.3)]))
    >>> found.inertia_before, found.inertia_after  # doctest: +ELLIPSIS
    (Inertia(negative=0, zero=0, positive=7, ...), Inertia(negative=1, zero=1, positive=8, ...))
    >>> int(found.predicted_zeros), bool(found.inertia_kept), bool(found.transport_gap < 1e-15)
    (1, True, True)
    """
    net, wide, operator = _pair(net, after)
    check_problem(net, x, y, loss)
    if off_sample is not None:
        check_inputs(net, off_sample)
    slopes = gradient(net, x, y, loss), gradient(wide, x, y, loss)
    found = Certificate(
        parameters=(net.n_parameters, wide.n_parameters),
        output_gap=_output_gap(net, wide, x),
        off_sample_gap=None if off_sample is None else _output_gap(net, wide, off_sample),
        risk_before=risk(net, x, y, loss).detach(),
        risk_after=risk(wide, x, y, loss).detach(),
        gradient_before=flatten(slopes[0]).abs().sum(-1),
        gradient_after=flatten(slopes[1]).abs().sum(-1),
    )
    if predicted_zeros is not None:
        found = replace(found, predicted_zeros=torch.as_tensor(predicted_zeros))
    if operator is not None:
        moved = flatten(operator.transport(slopes[0]))
        found = replace(found, transport_gap=_largest(flatten(slopes[1]) - moved, 1))
    if spectrum is None:
        return found
    curvatures = hessian(net, x, y, loss), hessian(wide, x, y, loss)
    before, wider = (spectrum(h) for h in curvatures)
    found = replace(found, inertia_before=before, inertia_after=wider)
    return found if operator is None else _transported(found, net, operator, curvatures)


def _transported(
    found: Certificate, net: MLP, operator: CriticalEmbedding, curvatures: tuple[Tensor, Tensor]
) -> Certificate:
    h, wide = curvatures
    a, c = affine_map(operator, net).matrix, affine_map(operator.transport, net).matrix
    zeros = found.predicted_zeros
    if (
        zeros is None
        and isinstance(operator, Embedding)
        and not net.batch
        and found.gradient_before <= CRITICAL
        and found.inertia_before is not None
    ):
        zeros = torch.as_tensor(promised_zeros(net, operator, h, int(found.inertia_before.zero)))
    return replace(
        found,
        compression_gap=_largest(a.mT @ wide @ a - h, 2),
        intertwining_gap=_largest(wide @ a - c @ h, 2),
        predicted_zeros=zeros,
    )


def _pair(
    net: MLP | nn.Sequential, after: MLP | nn.Sequential | CriticalEmbedding
) -> tuple[MLP, MLP, CriticalEmbedding | None]:
    before = as_dense(net)
    operator = None if isinstance(after, (MLP, nn.Sequential)) else after
    wide = as_dense(after if isinstance(after, (MLP, nn.Sequential)) else after(before))
    ends = [(n.batch, n.widths[0], n.widths[-1]) for n in (before, wide)]
    if ends[0] != ends[1]:
        raise ValueError(
            f"got {before} before and {wide} after: expected one batch shape, and the same in- and"
            " outputs"
        )
    return before, wide, operator


def _output_gap(a: MLP, b: MLP, x: Tensor) -> Tensor:
    return _largest(forward(b, x) - forward(a, x), 2)


def _largest(t: Tensor, dims: int) -> Tensor:
    return t.detach().abs().flatten(-dims).amax(-1)
