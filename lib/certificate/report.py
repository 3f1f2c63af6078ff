"""What a certificate holds, and how it reads.

Every claim of the embedding principle is an equality between a net before and after: equal outputs,
a transported gradient, transported curvature. A certificate measures how far each equality is
missed, for any before and after.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lib.curvature import Inertia


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
        rows: list[tuple[str, object, object]] = [
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
