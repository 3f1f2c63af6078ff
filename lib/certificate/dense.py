"""Certificates: what an operator preserved, and what it changed, in numbers.

Every claim of the embedding principle is an equality between a net before and after: equal outputs,
a transported gradient, transported curvature. A certificate measures how far each equality is
missed, for any before and after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lib.curvature import Inertia, hessian, inertia
from lib.linear import affine_map, rank
from lib.nets import MLP, Loss, flatten, forward, gradient, mse, risk
from lib.width import Embedding, tangents

CRITICAL = 1e-8  # L1 norm of a gradient up to which a point is called critical


class CriticalEmbedding(Protocol):
    """An affine operator theta -> A theta + c that knows the transport C of gradients."""

    def __call__(self, net: MLP) -> MLP: ...

    def transport(self, gradient: MLP) -> MLP: ...


@dataclass(frozen=True, eq=False)
class Certificate:
    """Before and after an operator; every tensor has the batch shape of the nets. None: not asked
    for.

    Args:
        parameters: (M, M').
        output_gap: max |f'(x) - f(x)| over the given inputs;  off_sample_gap: the same over other
            inputs.
        risk_before, risk_after: R_S.
        gradient_before, gradient_after: L1 norm of the gradient.
        transport_gap: max |grad R' - C grad R|.
        compression_gap: max |A^T H' A - H|;  intertwining_gap: max |H' A - C H|.
        inertia_before, inertia_after: of the exact Hessians.
        predicted_zeros: zero modes that theory promises at a critical point, at least.
    """

    parameters: tuple[int, int]
    output_gap: Tensor
    off_sample_gap: Tensor | None
    risk_before: Tensor
    risk_after: Tensor
    gradient_before: Tensor
    gradient_after: Tensor
    transport_gap: Tensor | None = None
    compression_gap: Tensor | None = None
    intertwining_gap: Tensor | None = None
    inertia_before: Inertia | None = None
    inertia_after: Inertia | None = None
    predicted_zeros: Tensor | None = None

    @property
    def risk_gap(self) -> Tensor:
        """|R_S after - R_S before|."""
        return (self.risk_after - self.risk_before).abs()

    @property
    def found_zeros(self) -> Tensor | None:
        """Zero eigenvalues of the Hessian after."""
        return None if self.inertia_after is None else self.inertia_after.zero

    @property
    def inertia_kept(self) -> Tensor | None:
        """No count of negative, zero or positive eigenvalues has decreased (Zhang et al. 2022,
        Thm 6.2)."""
        if self.inertia_before is None or self.inertia_after is None:
            return None
        a, b = self.inertia_before, self.inertia_after
        return (b.negative >= a.negative) & (b.zero >= a.zero) & (b.positive >= a.positive)

    def __str__(self) -> str:
        rows = [
            ("parameters", self.parameters[0], self.parameters[1]),
            ("risk", self.risk_before, self.risk_after),
            ("gradient, L1 norm", self.gradient_before, self.gradient_after),
        ]
        if self.inertia_after is not None:
            for sign in ("negative", "zero", "positive"):
                a, b = (
                    getattr(i, sign) if i is not None else None
                    for i in (self.inertia_before, self.inertia_after)
                )
                rows.append((f"{sign} eigenvalues", a, b))
        if self.predicted_zeros is not None:
            rows.append(("zero eigenvalues predicted, at least", None, self.predicted_zeros))
        gaps = [
            ("max |f' - f| on the sample", self.output_gap),
            ("max |f' - f| off the sample", self.off_sample_gap),
            ("max |grad R' - C grad R|", self.transport_gap),
            ("max |A^T H' A - H|", self.compression_gap),
            ("max |H' A - C H|", self.intertwining_gap),
        ]
        lines = [f"{'':38}{'before':>22}{'after':>22}"]
        lines += [f"{name:38}{_show(a):>22}{_show(b):>22}" for name, a, b in rows]
        lines += [f"{name:38}{'':22}{_show(gap):>22}" for name, gap in gaps if gap is not None]
        return "\n".join(line.rstrip() for line in lines)


def certify(
    net: MLP,
    embedded: MLP | None,
    x: Tensor,
    y: Tensor,
    loss: Loss = mse,
    *,
    embedding: CriticalEmbedding | None = None,
    off_sample: Tensor | None = None,
    predicted_zeros: int | Tensor | None = None,
    curvature: bool = True,
    spectrum: Callable[[Tensor], Inertia] = inertia,
) -> Certificate:
    """Measure what leads from `net` to `embedded` on the sample (x, y).

    Of any pair of nets: outputs, risks, gradients, inertia. With `embedding`, also the identities
        that hold at every
    theta, critical or not, because R'(A theta + c) = R(theta):

        grad R' = C grad R,   A^T H' A = H,   H' A = C H.

    Args:
        net: before, one net or a batch.
        embedded: after, with the same batch; None to take embedding(net).
        x: inputs (n, m_0);  y: targets;  loss: as in `lib.nets.losses`.
        embedding: an `lib.width.Embedding`, or anything like it.
        off_sample: other inputs (n', m_0), e.g. far outside the data.
        predicted_zeros: zero modes expected at a critical point. Default, for one net and an
            `lib.width.Embedding`: `promised_zeros`, if its gradient's L1 norm is at most
            `CRITICAL`; else none.
        curvature: compute Hessians (M' x M', float64); False for large nets.
        spectrum: how to count eigenvalues, e.g. with a threshold of one's own.
    Returns:
        A `Certificate`; print it for a table.
    Raises:
        ValueError: nothing to compare with; batches, in- or outputs differ; or, as NoSpectralGap,
            eigenvalues without a clear gap between zero and non-zero.
    Source: (Zhang et al. 2021, Prop. 1 and Thm 1; Zhang et al. 2022, Thm 6.2).

    >>> from lib.nets import init
    >>> from lib.critical.planted import plant
    >>> from lib.width import embedding
    >>> g = torch.Generator().manual_seed(1)
    >>> net, x = init((1, 2, 1), generator=0), torch.randn(20, 1, generator=g, dtype=torch.float64)
    >>> y = plant(net, x, g, residual=0.01)
    >>> found = certify(net, None, x, y, embedding=embedding(net, [(1, 0, 0.3)]))
    >>> found.inertia_before, found.inertia_after  # doctest: +ELLIPSIS
    (Inertia(negative=0, zero=0, positive=7, ...), Inertia(negative=1, zero=1, positive=8, ...))
    >>> int(found.predicted_zeros), bool(found.inertia_kept), bool(found.transport_gap < 1e-15)
    (1, True, True)
    """
    embedded = _pair(net, embedded, embedding)
    before, after = gradient(net, x, y, loss), gradient(embedded, x, y, loss)
    found: dict[str, object] = {}
    if embedding is not None:
        found["transport_gap"] = _largest(flatten(after) - flatten(embedding.transport(before)), 1)
    gradient_before = flatten(before).abs().sum(-1)
    if curvature:
        h, wide = hessian(net, x, y, loss), hessian(embedded, x, y, loss)
        found |= {"inertia_before": spectrum(h), "inertia_after": spectrum(wide)}
        if embedding is not None:
            a, c = affine_map(embedding, net).matrix, affine_map(embedding.transport, net).matrix
            found["compression_gap"] = _largest(a.mT @ wide @ a - h, 2)
            found["intertwining_gap"] = _largest(wide @ a - c @ h, 2)
        if (
            predicted_zeros is None
            and isinstance(embedding, Embedding)
            and not net.batch
            and gradient_before <= CRITICAL
        ):
            predicted_zeros = promised_zeros(net, embedding, h, int(found["inertia_before"].zero))
    if predicted_zeros is not None:
        found["predicted_zeros"] = torch.as_tensor(predicted_zeros)
    return Certificate(
        parameters=(net.n_parameters, embedded.n_parameters),
        output_gap=_largest(forward(embedded, x) - forward(net, x), 2),
        off_sample_gap=(
            None
            if off_sample is None
            else _largest(forward(embedded, off_sample) - forward(net, off_sample), 2)
        ),
        risk_before=risk(net, x, y, loss).detach(),
        risk_after=risk(embedded, x, y, loss).detach(),
        gradient_before=gradient_before,
        gradient_after=flatten(after).abs().sum(-1),
        **found,
    )


def promised_zeros(net: MLP, embedding: Embedding, h: Tensor, zeros: int) -> int:
    """How many zero modes theory promises after an embedding of a critical point, at least.

    rank [A ker H, tangent space of the critical points that the family of general compatible
    embeddings sweeps]: by H' A = C H the first, and by criticality of the whole family the second,
    lie in the kernel of H'.

    Args:
        net: one critical net;  embedding: unbatched.
        h: its Hessian (M, M);  zeros: dim ker H.
    Raises:
        ValueError: a batch, or no clear rank.

    >>> from lib.nets import init
    >>> from lib.width import embedding
    >>> net = init((1, 2, 1), generator=0)
    >>> promised_zeros(net, embedding(net, [(1, 0, 0.3), (1, 1, 2.0)]), torch.eye(7).double(), 0)
    2
    """
    values, vectors = torch.linalg.eigh(h)
    kernel = vectors[:, values.abs().argsort()[:zeros]].mT
    spanning = torch.cat([kernel @ affine_map(embedding, net).matrix.mT, tangents(embedding, net)])
    length = spanning.norm(dim=-1, keepdim=True)
    spanning = spanning / torch.where(length > 1e-12 * length.max(), length, torch.inf)
    # Kernel vectors are as exact as the spectral gap is wide, so the threshold stays far above
    # rounding.
    return int(rank(spanning, tolerance=1e-7).value)


def _pair(net: MLP, embedded: MLP | None, embedding: CriticalEmbedding | None) -> MLP:
    if embedded is None:
        if embedding is None:
            raise ValueError("got neither an embedded net nor an embedding: expected at least one")
        embedded = embedding(net)
    if (net.batch, net.widths[0], net.widths[-1]) != (
        embedded.batch,
        embedded.widths[0],
        embedded.widths[-1],
    ):
        raise ValueError(
            f"got {net} before and {embedded} after: expected one batch shape, and the same in- and"
            " outputs"
        )
    return embedded


def _largest(t: Tensor, dims: int) -> Tensor:
    return t.detach().abs().flatten(-dims).amax(-1)


def _show(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, Tensor):
        return str(value)
    if value.dim() and value.numel():
        return f"{_number(value.min())} .. {_number(value.max())}"
    return _number(value) if value.numel() else "no nets"


def _number(value: Tensor) -> str:
    return f"{value.item():.3g}" if value.is_floating_point() else str(value.item())
