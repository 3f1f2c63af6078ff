"""All zeros of a small system in a box: branch and bound, whose boxes are kept as the proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import flint
import numpy as np

from lib.certify.balls import Ball, Matrix, ball

Box = tuple[tuple[Fraction, Fraction], ...]
System = Callable[[Sequence[Ball]], Sequence[Ball]]
Jacobian = Callable[[Sequence[Ball]], Matrix]
BITS = 64
FIRST = 6  # halvings before derivatives are worth their time


@dataclass(frozen=True)
class Cover:
    """Boxes that together are the box that was searched.

    Args:
        start: that box.
        empty: boxes that are proved to hold no zero;  single: proved to hold exactly one.
        outside: not asked for;  undecided: left over.
    """

    start: Box
    empty: tuple[Box, ...]
    single: tuple[Box, ...]
    outside: tuple[Box, ...]
    undecided: tuple[Box, ...]

    @property
    def complete(self) -> bool:
        """Nothing is left over, and no part of the box is missing."""
        parts = (*self.empty, *self.single, *self.outside, *self.undecided)
        return not self.undecided and sum(map(_volume, parts)) == _volume(self.start)

    def __repr__(self) -> str:
        return (
            f"Cover({len(self.empty)} empty, {len(self.single)} with one zero,"
            f" {len(self.outside)} outside, {len(self.undecided)} undecided)"
        )


def all_zeros(
    system: System,
    box: Sequence[tuple[Fraction, Fraction]],
    *,
    jacobian: Jacobian | None = None,
    outside: Callable[[Sequence[Ball]], bool] | None = None,
    depth: int = 40,
) -> Cover:
    """Find all zeros of a system in a box, with proof, by halving what is not decided.

    A box is empty when one component of the system, enclosed on it, excludes zero. It has one zero
    when the Krawczyk operator with the Jacobian maps it into its interior. The ends of all boxes
    are rationals, so that the parts are the whole exactly.

    Args:
        system: encloses its components on a box of balls;  box: (low, high) of each variable.
        jacobian: encloses the matrix of derivatives, square; without it no box has one zero.
        outside: says of a box that no point of it is asked for.
        depth: how often a box is halved before it counts as undecided.
    Returns:
        A `Cover`; read `complete` before using it.
    Raises:
        ValueError: a side of the box has no length.
    Source: (Moore 1977, Krawczyk 1969); the outline is the textbook's.

    >>> half = Fraction(1, 2)
    >>> found = all_zeros(
    ...     lambda v: [v[0] * v[0] - 2],
    ...     [(Fraction(0), Fraction(3))],
    ...     jacobian=lambda v: flint.arb_mat([[2 * v[0]]]),
    ... )
    >>> found.complete, [[float(e) for e in side] for side in found.single[0]]
    (True, [[1.40625, 1.453125]])
    """
    start: Box = tuple((Fraction(a), Fraction(b)) for a, b in box)
    if not all(a < b for a, b in start):
        raise ValueError(f"box {start} has a side without length: expected low < high")
    empty: list[Box] = []
    single: list[Box] = []
    away: list[Box] = []
    rest: list[Box] = []
    stack = [(start, 0)]
    with flint.ctx.workprec(BITS):
        while stack:
            here, level = stack.pop()
            balls = [_hull(a, b) for a, b in here]
            if outside is not None and outside(balls):
                away.append(here)
            elif not all(v.contains(0) for v in system(balls)):
                empty.append(here)
            elif (known := _by_slopes(system, jacobian, here, balls, level)) is not None:
                (single if known else empty).append(here)
            elif level == depth:
                rest.append(here)
            else:
                stack += [(half, level + 1) for half in _halves(here, start)]
    return Cover(start, tuple(empty), tuple(single), tuple(away), tuple(rest))


def _hull(low: Fraction, high: Fraction) -> Ball:
    a, b = (flint.arb(flint.fmpq(v.numerator, v.denominator)) for v in (low, high))
    return a.union(b)


def _halves(box: Box, start: Box) -> tuple[Box, Box]:
    """Cut across the side that is longest relative to the whole."""
    relative = [(b - a) / (d - c) for (a, b), (c, d) in zip(box, start, strict=True)]
    cut = relative.index(max(relative))
    low, high = box[cut]
    middle = (low + high) / 2
    return (
        (*box[:cut], (low, middle), *box[cut + 1 :]),
        (*box[:cut], (middle, high), *box[cut + 1 :]),
    )


def _by_slopes(
    system: System, jacobian: Jacobian | None, box: Box, balls: Sequence[Ball], level: int
) -> bool | None:
    """True: the box has one zero; False: it has none; None: undecided.

    In coordinates in which the box is the cube [-1, 1]^k, with J on the box, the mean value theorem
    encloses the system by F(0) + J [-1, 1]^k, and Krawczyk's operator all zeros in the box by
    K = -C F(0) + (I - C J) [-1, 1]^k.
    """
    if jacobian is None or level < FIRST:
        return None
    centre = flint.arb_mat([[v] for v in system([_hull((a + b) / 2, (a + b) / 2) for a, b in box])])
    half = [[_hull(Fraction(0), Fraction(0))] * len(box) for _ in box]
    for i, (a, b) in enumerate(box):
        half[i][i] = _hull((b - a) / 2, (b - a) / 2)
    slopes = jacobian(balls) * flint.arb_mat(half)
    cube = flint.arb_mat([[flint.arb(0, 1)] for _ in box])
    if not all(v.contains(0) for v in (centre + slopes * cube).entries()):
        return False
    middle = np.array([[float(v.mid()) for v in row] for row in slopes.tolist()])
    if not np.isfinite(middle).all() or abs(np.linalg.det(middle)) < 1e-300:
        return None
    c = flint.arb_mat([[ball(v) for v in row] for row in np.linalg.inv(middle).tolist()])
    identity = flint.arb_mat(np.eye(len(box), dtype=int).tolist())
    image = (identity - c * slopes) * cube - c * centre
    if not all(v.overlaps(flint.arb(0, 1)) for v in image.entries()):
        return False
    return True if all(abs(v) < 1 for v in image.entries()) else None


def _volume(box: Box) -> Fraction:
    product = Fraction(1)
    for low, high in box:
        product *= high - low
    return product
