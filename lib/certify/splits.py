"""Certificates of the degenerate points that splitting makes, carried over from the narrow net."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import flint
from torch import Tensor

from lib.certify.balls import Ball, Matrix
from lib.certify.enclosure import Passes, passes
from lib.certify.points import PRECISION, CertifiedPoint
from lib.certify.proving import signs
from lib.nets.checks import check_neuron
from lib.width.spectrum import shared_counts


@dataclass(frozen=True, eq=False)
class CertifiedSplit:
    """A proof about all critical points that splitting a neuron makes of a certified one.

    Args:
        point: the narrow net's certificate;  layer, neuron: which is split;  shares: into what.
        rank: of C = E[sigma'(z) u e^T] at the true critical point.
        bend: negative, zero and positive eigenvalues of B on ker C^T there; zero is 0.
        counts: those of the wide net's Hessian at the embedded point.
        proof: what was shown, after the narrow net's own proof.
    """

    point: CertifiedPoint
    layer: int
    neuron: int
    shares: tuple[Fraction, ...]
    rank: int
    bend: tuple[int, int, int]
    counts: tuple[int, int, int]
    proof: tuple[str, ...]

    def __repr__(self) -> str:
        return (
            f"CertifiedSplit({self.point.net!r} into {len(self.shares)} copies, B {self.bend},"
            f" inertia {self.counts})"
        )


def certify_split(
    point: CertifiedPoint,
    x: Tensor,
    y: Tensor,
    layer: int,
    neuron: int,
    shares: Sequence[float | Fraction],
) -> CertifiedSplit:
    """Prove the inertia of the wide net at a certified critical point whose neuron is split.

    Such a point is degenerate, so that no interval method can prove it alone. But it is critical
    because the narrow one is, for every choice of shares, and its counts follow from those of the
    narrow net, rank C and the signs of B on ker C^T (`lib.width.split_inertia`). At a critical
    point C a = 0, so rank C <= m_{l+1} - 1 where a is not 0; equality and the signs of B are
    proved in ball arithmetic on the box of the certificate.

    Args:
        point: of `certify_point` on the same sample;  x, y: the sample.
        layer, neuron: as in `lib.width.split_into`.
        shares: k >= 1 numbers that add up to 1; floats are taken as the rationals that they are,
            and the last one as what is left.
    Raises:
        ValueError: no such neuron, shares that do not add up to 1, or what is not proved: the
            neuron may write nothing, C may have a lower rank, or B may be singular on ker C^T.
    Source: derived in the chapter on certified landscapes.

    >>> import torch
    >>> from lib.certify import certify_point
    >>> from lib.critical import plant
    >>> from lib.nets import init
    >>> x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    >>> net = init((1, 1, 1), output_bias=False, generator=0)
    >>> y = plant(net, x, torch.Generator().manual_seed(0), residual=0.1)
    >>> point = certify_point(net, x, y)
    >>> certify_split(point, x, y, 1, 0, [0.25, 0.75]).bend
    (1, 0, 1)
    """
    check_neuron(point.net, layer, neuron)
    exact = _exact(shares)
    with flint.ctx.workprec(PRECISION):
        at = passes(point.net, x, y, point.radius)
        bend, slope = _bend_and_slope(at, layer, neuron)
        writes = at.weights[layer].transpose().tolist()[neuron]
        kept = _without_one_that_writes(slope, writes)
        found = signs(_block(bend, kept))
    outputs, rank = len(writes), len(writes) - 1
    if not found.proves or found.negative < rank or found.positive < rank:
        raise ValueError(
            f"the signs of neuron {neuron} of layer {layer} are not proved: C may have a rank below"
            f" {rank}, or B may be singular on ker C^T (margin {found.margin:.1e})"
        )
    rest = (found.negative - rank, 0, found.positive - rank)
    added = shared_counts(rank, outputs, rest, exact)
    n, z, p = (a + b for a, b in zip(point.counts, added, strict=True))
    lines = (
        f"C a = 0 with a not 0: rank C <= {rank}",
        f"[[B, C], [C^T, 0]] less one column of C that writes: margin {found.margin:.3e}",
        f"so rank C = {rank}; B on ker C^T: {rest[0]} negative, {rest[2]} positive eigenvalues",
        f"shares {', '.join(map(str, exact))}: {(n, z, p)} by the theorem on shares",
    )
    return CertifiedSplit(point, layer, neuron, exact, rank, rest, (n, z, p), lines)


def _exact(shares: Sequence[float | Fraction]) -> tuple[Fraction, ...]:
    given = [Fraction(s) for s in shares]
    total = sum(given, Fraction(0))
    if not given or abs(float(total) - 1) > 1e-9:
        raise ValueError(f"shares {list(shares)} add up to {float(total)}: expected 1")
    return (*given[:-1], 1 - total + given[-1])


def _bend_and_slope(at: Passes, layer: int, neuron: int) -> tuple[Matrix, Matrix]:
    """B (p, p) and C (p, m_{l+1}) on the box."""
    inputs, bends, slopes, errors = [], [], [], []
    for i, of_sample in enumerate(at.jets[layer - 1]):
        u = list(at.features(layer - 1, i))
        if at.net.biases[layer - 1] is not None:
            u.append(flint.arb(1))
        _, first, second = of_sample[neuron]
        inputs.append(u)
        bends.append([at.above[layer - 1][i][neuron] * second * v for v in u])
        slopes.append([first * v for v in u])
        errors.append(at.errors[layer][i])
    bend = flint.arb_mat(inputs).transpose() * flint.arb_mat(bends)
    return bend, flint.arb_mat(slopes).transpose() * flint.arb_mat(errors)


def _without_one_that_writes(slope: Matrix, writes: Sequence[Ball]) -> list[list[Ball]]:
    """C without the column of the largest weight a_j, which C a = 0 makes a sum of the others."""
    sizes = [float(abs(w).lower()) for w in writes]
    largest = sizes.index(max(sizes))
    if not sizes[largest] > 0:
        raise ValueError("the neuron may write nothing: its copies have no signs to prove")
    return [[v for j, v in enumerate(row) if j != largest] for row in slope.tolist()]


def _block(bend: Matrix, slope: list[list[Ball]]) -> Matrix:
    """[[B, C], [C^T, 0]] with the columns of C that are left."""
    columns = list(zip(*slope, strict=True))
    rows = [[*b, *c] for b, c in zip(bend.tolist(), slope, strict=True)]
    return flint.arb_mat(rows + [[*c, *[flint.arb(0)] * len(columns)] for c in columns])
