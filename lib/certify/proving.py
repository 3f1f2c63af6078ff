"""The two proofs that everything rests on: a zero exists and is alone, and a matrix has these
signs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import flint
import numpy as np
from numpy.typing import NDArray

from lib.certify.balls import Ball, Matrix, ball, norm, upper

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Contraction:
    """What the Krawczyk operator does to a box c + [-radius, radius]^M.

    Args:
        shift: bounds |C g(c)|;  factor: bounds the row sums of |I - C H(box)|;  radius: of the box.

    The box holds exactly one zero of g as soon as shift + factor * radius < radius: the operator
    K(box) = c - C g(c) + (I - C H(box)) (box - c) then maps it into its interior (Krawczyk 1969;
    Moore 1977).
    """

    shift: float
    factor: float
    radius: float

    @property
    def image(self) -> float:
        """Radius of the box around c that K(box) lies in, and so does the zero."""
        return self.shift + self.factor * self.radius

    @property
    def proves(self) -> bool:
        """One zero in the box, and no other."""
        return self.image * (1 + 2**-40) < self.radius


def contraction(
    slope: Sequence[Ball], hessian: Matrix, inverse: Numbers, radius: float
) -> Contraction:
    """The bounds from g at the centre, H on the box, and any float matrix near the inverse of H.

    >>> h = flint.arb_mat([[2]])
    >>> contraction([flint.arb("1e-9")], h, np.array([[0.5]]), 1e-8).proves
    True
    """
    size = len(slope)
    c = flint.arb_mat([[ball(v) for v in row] for row in inverse.tolist()])
    moved = (c * flint.arb_mat([[s] for s in slope])).entries()
    rest = flint.arb_mat(np.eye(size, dtype=int).tolist()) - c * hessian
    sums = [sum((abs(v) for v in row), flint.arb(0)) for row in rest.tolist()]
    return Contraction(norm(moved), norm(sums), radius)


@dataclass(frozen=True)
class Signs:
    """How many eigenvalues are negative and positive, by Sylvester's law and Gershgorin's discs.

    Args:
        negative, positive: counts;  margin: the least distance of a disc of the scaled Q^T H Q from
            zero, relative to its centre; above zero it is a proof.
        basis: Q, columns scaled, so that Q^T H Q is nearly a diagonal of -1 and 1.
    """

    negative: int
    positive: int
    margin: float
    basis: Numbers

    @property
    def proves(self) -> bool:
        """No eigenvalue is zero, and the counts are those of the matrix."""
        return self.margin > 0


def signs(matrix: Matrix) -> Signs:
    """The inertia of every symmetric matrix in a matrix of balls.

    With any real Q, S = Q^T H Q. If no Gershgorin disc of S holds zero, S is regular, so Q is, and
    by Sylvester's law H has as many negative and positive eigenvalues as S: those of its diagonal.
    Q is the floating eigenvectors over the roots of |eigenvalues|; that it is inexact only
    widens the discs.

    >>> found = signs(flint.arb_mat([[2, 1], [1, -3]]))
    >>> found.negative, found.positive, found.proves
    (1, 1, True)
    """
    if not matrix.nrows():
        return Signs(0, 0, float("inf"), np.zeros((0, 0)))
    rows = matrix.mid().tolist()
    middle = np.array([[float(v) for v in row] for row in rows])
    values, vectors = np.linalg.eigh((middle + middle.T) / 2)
    basis = vectors / np.sqrt(np.maximum(np.abs(values), 1e-300))
    q = flint.arb_mat([[ball(v) for v in row] for row in basis.tolist()])
    scaled = (q.transpose() * matrix * q).tolist()
    return Signs(*_discs(scaled), basis)


def _discs(scaled: Sequence[Sequence[Ball]]) -> tuple[int, int, float]:
    negative, margin = 0, float("inf")
    for i, row in enumerate(scaled):
        around = sum((abs(v) for j, v in enumerate(row) if j != i), flint.arb(0))
        centre = row[i]
        if not centre.is_finite() or centre.contains(0):
            return negative, len(scaled) - negative, -1.0
        margin = min(margin, 1 - upper(around / abs(centre)))
        negative += bool(centre < 0)
    return negative, len(scaled) - negative, margin
