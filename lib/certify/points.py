"""Certificates of critical points: one true critical point is near, and these are its signs."""

from __future__ import annotations

from dataclasses import dataclass

import flint
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lib.certify.balls import upper
from lib.certify.enclosure import Passes, passes
from lib.certify.proving import Contraction, Signs, contraction, signs
from lib.curvature import hessian
from lib.nets import MLP, flatten
from lib.nets.checks import check_single
from lib.nets.dense import check_parameters, check_problem

LARGEST = 120  # parameters: the matrices of balls take M^2 n times a microsecond
PRECISION = 128  # bits of the balls
STEPS = 6  # how often the box grows until the proof succeeds


@dataclass(frozen=True, eq=False)
class CertifiedPoint:
    """A proof that one critical point is near a net.

    Args:
        net: what was given, the centre of the box.
        radius: every parameter of exactly one critical point of R_S differs from the net's by less.
        isolation: no other critical point lies within this distance, in any parameter.
        counts: negative, zero and positive eigenvalues of the Hessian there; zero is 0.
        loss: R_S at the critical point lies between these.
        inverse, basis: the float matrices of the two proofs, to check them elsewhere.
        proof: what was shown, line by line.
    """

    net: MLP
    radius: float
    isolation: float
    counts: tuple[int, int, int]
    loss: tuple[float, float]
    inverse: NDArray[np.float64]
    basis: NDArray[np.float64]
    proof: tuple[str, ...]

    def __repr__(self) -> str:
        return (
            f"CertifiedPoint({self.net!r}, radius {self.radius:.1e}, inertia {self.counts},"
            f" loss {self.loss[0]:.10g})"
        )


def certify_point(net: MLP, x: Tensor, y: Tensor) -> CertifiedPoint:
    """Prove that one true critical point of the mean squared error lies near a net, and count its
    signs.

    With C near the inverse of the Hessian H(theta), g the gradient and X = theta + [-r, r]^M,
        K(X) = theta - C g(theta) + (I - C H(X)) (X - theta)
    is enclosed in ball arithmetic, the floats of net and sample taken as the rationals that they
    are. If K(X) lies inside X, then X holds exactly one critical point (Krawczyk). The signs are
    those of Q^T H(X) Q, whose Gershgorin discs avoid zero (Sylvester).

    Args:
        net: one float64 net of at most 120 parameters, polished;  x: (n, m_0);  y: (n, m_L).
    Returns:
        A `CertifiedPoint`, which holds all that another program needs to check it.
    Raises:
        TypeError: not float64.
        ValueError: whatever cannot be proved: no critical point is near, the Hessian may be
            singular there, a pre-activation may lie on a kink, or the net is too large.
    Source: derived in the chapter on certified landscapes; (Krawczyk 1969; Moore 1977).

    >>> from lib.critical import plant
    >>> from lib.nets import init
    >>> x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    >>> net = init((1, 1, 1), output_bias=False, generator=0)
    >>> y = plant(net, x, torch.Generator().manual_seed(0), residual=0.1)
    >>> found = certify_point(net, x, y)
    >>> found.counts, found.radius < 1e-12 < found.isolation
    ((0, 0, 3), True)
    """
    _check(net, x, y)
    with flint.ctx.workprec(PRECISION):
        slope = passes(net, x, y).gradient()
        inverse = _inverse(net, x, y)
        first = contraction(slope, flint.arb_mat(len(slope), len(slope)), inverse, 1.0)
        near, box = _smallest(net, x, y, slope, inverse, first.shift)
        found = signs(box.hessian())
        if not found.proves:
            raise ValueError(
                f"the signs of the Hessian of {net!r} are not proved: a Gershgorin disc of the"
                f" scaled matrix holds zero (margin {found.margin:.1e})"
            )
        away = _isolation(net, x, y, slope, inverse, near)
        loss = box.loss()
        ends = max(0.0, -upper(-loss)), upper(loss)
    counts = (found.negative, 0, found.positive)
    lines = _proof(near, away, found)
    return CertifiedPoint(net, near.radius, away, counts, ends, inverse, found.basis, lines)


def _check(net: MLP, x: Tensor, y: Tensor) -> None:
    check_single(net)
    check_parameters(net)
    check_problem(net, x, y)
    if net.dtype != torch.float64:
        raise TypeError(f"the net is {net.dtype}: expected torch.float64")
    if net.n_parameters > LARGEST:
        raise ValueError(
            f"{net!r} is too large to certify: expected at most {LARGEST} parameters; certify the"
            " narrow net and carry it with certify_split"
        )


def _inverse(net: MLP, x: Tensor, y: Tensor) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(hessian(net, x, y).numpy())
    size = np.abs(values)
    if size.min() <= len(size) * 1e-15 * size.max():
        lost = int((size <= len(size) * 1e-15 * size.max()).sum())
        raise ValueError(
            f"the Hessian of {net!r} is singular to rounding, {lost} of {len(size)} eigenvalues: a"
            " degenerate point is not alone, so nothing is proved; certify the narrow net that it"
            " embeds and carry it with certify_split"
        )
    inverse: NDArray[np.float64] = (vectors / values) @ vectors.T
    return inverse


def _smallest(
    net: MLP, x: Tensor, y: Tensor, slope: list[object], inverse: NDArray[np.float64], shift: float
) -> tuple[Contraction, Passes]:
    """The first box, twice as large as the Newton step and then larger, that the proof succeeds
    on."""
    least = float(flatten(net).abs().max()) * 2**-60
    tried = None
    for k in range(STEPS):
        radius = max(2 * shift, least) * 4**k
        box = passes(net, x, y, radius)
        tried = contraction(slope, box.hessian(), inverse, radius)
        if tried.proves:
            return tried, box
    assert tried is not None
    raise ValueError(
        f"no critical point is proved near {net!r}: on boxes up to radius {tried.radius:.1e} the"
        f" Newton step is {tried.shift:.1e} and the contraction {tried.factor:.1e}, expected below"
        " 1; polish the net further, or it is no critical point, or one that is nearly degenerate"
    )


def _isolation(
    net: MLP,
    x: Tensor,
    y: Tensor,
    slope: list[object],
    inverse: NDArray[np.float64],
    near: Contraction,
) -> float:
    """The radius of the largest box tried that is proved to hold one critical point alone."""
    # the contraction grows in proportion to the box, so one try tells where it fails
    radius = max(near.radius, 1e-10)
    best = near.radius
    for _ in range(3):
        try:
            tried = contraction(slope, passes(net, x, y, radius).hessian(), inverse, radius)
        except ValueError:  # the box reaches a kink
            break
        if tried.proves:
            best = max(best, radius)
        radius *= 0.9 / max(tried.factor, 1e-6)
    return best


def _proof(near: Contraction, away: float, found: Signs) -> tuple[str, ...]:
    return (
        f"balls of {PRECISION} bits; net and sample are the rationals that their floats are",
        f"Newton step |C g(theta)| <= {near.shift:.3e}",
        f"box of radius {near.radius:.3e}: row sums of |I - C H(box)| <= {near.factor:.3e}",
        f"K(box) has radius {near.image:.3e} < {near.radius:.3e}: one critical point in the box",
        f"the same holds up to radius {away:.3e}: no other critical point there",
        f"Gershgorin discs of Q^T H(box) Q avoid zero, margin {found.margin:.3e}",
        f"so {found.negative} eigenvalues are negative and {found.positive} positive",
    )
