"""All critical points of one tanh neuron on the data of Fig. 4, proved to be all.

The loss is mean (a tanh(w x_i + b) - y_i)^2 on fifty equally spaced x_i and an odd target. With
a = c / s, c = sum y_i h_i and s = sum h_i^2, points with a not zero are critical exactly where

    sum_i h'_i r_i = 0 and sum_i x_i h'_i r_i = 0,   r_i = s y_i - c h_i,   c not zero.

Signs (w, b, a) -> (-w, -b, -a) and the mirror (b -> -b) leave w >= 0 and b >= 0. Charts cover what
remains, infinity included; in each, the two sums are divided by what would make them vanish at its
edge, so that one of them stays away from zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import flint
import numpy as np

from lib.certify import all_zeros
from lib.certify.balls import Ball, Matrix
from lib.certify.boxes import Box, Cover, System
from lib.nets import MLP

SAMPLES = 50
END = Fraction(15)
FAR = Fraction(25)  # |b / w| in the chart of slopes
SLOW, STEEP = Fraction(1, 20), Fraction(3)  # w at which charts of slopes meet the others
EDGE = Fraction(3, 2)  # pre-activation from which on a sample counts as saturated


def grid() -> list[Ball]:
    """The inputs, exact."""
    step = 2 * END / (SAMPLES - 1)
    return [_ball(-END + step * i) for i in range(SAMPLES)]


def targets(x: Sequence[Ball]) -> list[Ball]:
    """tanh(x - 7) + tanh(x) + tanh(x + 7)."""
    return [(v - 7).tanh() + v.tanh() + (v + 7).tanh() for v in x]


def _ball(value: Fraction) -> Ball:
    return flint.arb(flint.fmpq(value.numerator, value.denominator))


def _total(values: Sequence[Ball]) -> Ball:
    return sum(values, flint.arb(0))


@dataclass
class Chart:
    """Some of the (w, b), its coordinates, and the two sums that vanish at critical points there.

    Args:
        name: in tables;  box: of its coordinates;  system: the two sums, scaled.
        outside: where another chart is in charge.
    """

    name: str
    box: tuple[tuple[Fraction, Fraction], ...]
    system: System
    outside: Callable[[Sequence[Ball]], bool] | None = None
    jacobian: Callable[[Sequence[Ball]], Matrix] | None = None


@dataclass
class Neuron:
    """The sums of the module's docstring.

    Args:
        x, y: the sample, as balls.
    """

    x: list[Ball] = field(default_factory=grid)
    y: list[Ball] = field(init=False)

    def __post_init__(self) -> None:
        self.y = targets(self.x)

    def residuals(self, h: Sequence[Ball]) -> list[Ball]:
        """r_i = s y_i - c h_i."""
        s = _total([v * v for v in h])
        c = _total([v * t for v, t in zip(h, self.y, strict=True)])
        return [s * t - c * v for v, t in zip(h, self.y, strict=True)]

    def slopes(self, v: Sequence[Ball]) -> tuple[Ball, Ball]:
        """Coordinates w and m = b / w: the sums of h' r and of (x + m) h' r."""
        w, m = v
        u = [x + m for x in self.x]
        h = [(w * t).tanh() for t in u]
        terms = [(1 - p * p) * r for p, r in zip(h, self.residuals(h), strict=True)]
        return _total(terms), _total([a * b for a, b in zip(u, terms, strict=True)])

    def slopes_jacobian(self, v: Sequence[Ball]) -> Matrix:
        """The derivatives of `slopes` by w and m."""
        w, m = v
        u = [x + m for x in self.x]
        h = [(w * t).tanh() for t in u]
        first = [1 - p * p for p in h]
        r = self.residuals(h)
        c = _total([p * t for p, t in zip(h, self.y, strict=True)])
        rows: list[list[Ball]] = [[], []]
        for moved in (u, [w] * len(u)):  # dz by w, by m
            dh = [f * z for f, z in zip(first, moved, strict=True)]
            ds = 2 * _total([p * d for p, d in zip(h, dh, strict=True)])
            dc = _total([d * t for d, t in zip(dh, self.y, strict=True)])
            change = [
                f * (ds * t - dc * p - c * d) - 2 * p * d * q
                for f, t, p, d, q in zip(first, self.y, h, dh, r, strict=True)
            ]
            rows[0].append(_total(change))
            rows[1].append(_total([a * b for a, b in zip(u, change, strict=True)]))
        rows[1][1] += _total([f * q for f, q in zip(first, r, strict=True)])
        return flint.arb_mat(rows)

    def rays(self, t: Ball, u: Sequence[Ball]) -> tuple[Ball, list[Ball], list[Ball]]:
        """h = tanh(rho u) / rho with t = rho^2, which is analytic at t = 0: the sum of its
        derivative by t with r, the terms h' r, and h."""
        h, slopes, bends = [], [], []
        for a in u:
            value, bend = _quotient(t * a * a)
            h.append(a * value)
            bends.append(a * a * a * bend)
            slopes.append(value + 2 * t * a * a * bend)
        r = self.residuals(h)
        along = _total([p * q for p, q in zip(bends, r, strict=True)])
        return along, [p * q for p, q in zip(slopes, r, strict=True)], h

    def gentle(self, v: Sequence[Ball]) -> tuple[Ball, Ball]:
        """Coordinates t = w^2 and m = b / w, for small w."""
        along, terms, _ = self.rays(v[0], [x + v[1] for x in self.x])
        return along, _total(terms)

    def flat(self, v: Sequence[Ball]) -> tuple[Ball, Ball]:
        """Coordinates t = b^2 and k = w / b, for small k."""
        along, terms, _ = self.rays(v[0], [1 + v[1] * x for x in self.x])
        return along, _total([x * p for x, p in zip(self.x, terms, strict=True)])

    def saturated(self, v: Sequence[Ball]) -> tuple[Ball, Ball]:
        """Coordinates e = exp(-2 z_1) and p = exp(-2 w step), where all z_i are positive."""
        e, p = v
        q = _powers(p, SAMPLES)
        g = [e * a for a in q]
        r = self.residuals([(1 - a) / (1 + a) for a in g])
        terms = [a * b / ((1 + c) * (1 + c)) for a, b, c in zip(q, r, g, strict=True)]
        return _total(terms), _total([x * a for x, a in zip(self.x, terms, strict=True)])

    def near(self, j: int) -> System:
        """Coordinates t = exp(-2 w step) and z = z_j of a steep neuron whose step is at sample j:
        the sum of h' r, and what is left of the other sum when sample j is eliminated."""

        def system(v: Sequence[Ball]) -> tuple[Ball, Ball]:
            t, z = v
            up, down = (-2 * z).exp(), (2 * z).exp()
            t = _part(t)
            right = [up * a for a in _powers(t, SAMPLES - j)[1:]]
            left = [down * a for a in _powers(t, j + 1)[1:]]
            own = z.tanh()
            h = [*[-_step(g) for g in reversed(left)], own, *[_step(g) for g in right]]
            r = self.residuals(h)
            all_terms = (1 - own * own) * r[j]
            rest = flint.arb(0)
            for sign, tail, side, unit in (
                (1, right, r[j + 1 :], up),
                (-1, left, r[:j][::-1], down),
            ):
                power = flint.arb(1)
                for k, (g, q) in enumerate(zip(tail, side, strict=True), start=1):
                    share = q / ((1 + g) * (1 + g))
                    all_terms += 4 * g * share
                    rest += sign * k * power * unit * share
                    power = power * t
            return all_terms, rest

        return system

    def between(self, j: int) -> System:
        """Coordinates exp(-2 |z_j|) and exp(-2 |z_{j+1}|) of a steep neuron whose step is between
        these samples: the sums with one or the other sample eliminated."""

        def system(v: Sequence[Ball]) -> tuple[Ball, Ball]:
            p, q = v
            powers = _powers(p * q, SAMPLES)
            left, right = ([a * e for a in powers] for e in (p, q))
            left, right = left[: j + 1], right[: SAMPLES - j - 1]
            h = [*[-_step(g) for g in reversed(left)], *[_step(g) for g in right]]
            r = self.residuals(h)
            sides = []
            for mine, far, of_mine, of_far, e in (
                (left, right, r[: j + 1][::-1], r[j + 1 :], q),
                (right, left, r[j + 1 :], r[: j + 1][::-1], p),
            ):
                near = _total(
                    [(k + 1) * powers[k] * of_mine[k] / (1 + g) ** 2 for k, g in enumerate(mine)]
                )
                others = [
                    k * powers[k - 1] * e * e * of_far[k] / (1 + g) ** 2
                    for k, g in enumerate(far)
                    if k
                ]
                sides.append(near - _total(others))
            return sides[0], sides[1]

        return system


def _step(g: Ball) -> Ball:
    return (1 - g) / (1 + g)


def _part(t: Ball) -> Ball:
    return t.nonnegative_part()


def _powers(p: Ball, count: int) -> list[Ball]:
    """1, p, p^2, ... for p >= 0, each from the ends of p alone."""
    low, high = _part(p.lower()), p.upper()
    lows, highs = [flint.arb(1)], [flint.arb(1)]
    for _ in range(count - 1):
        lows.append(lows[-1] * low)
        highs.append(highs[-1] * high)
    return [a.union(b) for a, b in zip(lows, highs, strict=True)]


def _quotient(v: Ball) -> tuple[Ball, Ball]:
    """T(v) = tanh(sqrt v) / sqrt v and its derivative.

    T(v) = sum_k 2 / (v + ((k - 1/2) pi)^2): it falls, and T' rises, so the ends are enough.
    """
    ends = [_at(_part(e)) for e in (v.lower(), v.upper())]
    return ends[0][0].union(ends[1][0]), ends[0][1].union(ends[1][1])


def _at(v: Ball) -> tuple[Ball, Ball]:
    if not v > flint.arb("1e-6"):  # T between its values at 0 and 1e-6
        small = flint.arb("1e-6")
        top, low = (flint.arb(1), flint.arb(-1) / 3), _closed(small)
        return top[0].union(low[0]), top[1].union(low[1])
    return _closed(v)


def _closed(v: Ball) -> tuple[Ball, Ball]:
    root = v.sqrt()
    h = root.tanh()
    value = h / root
    return value, (1 - h * h - value) / (2 * v)


def charts(neuron: Neuron) -> list[Chart]:
    """The charts that together hold every (w, b) with w >= 0 and b >= 0."""
    edge = _ball(EDGE)
    far = (-2 * edge).exp()
    small = Fraction(int(float(far) * 2**30) + 1, 2**30)
    steep = (-2 * _ball(STEEP) * (neuron.x[1] - neuron.x[0])).exp()
    least = Fraction(int(float(steep) * 2**30) + 1, 2**30)
    zero, one = Fraction(0), Fraction(1)

    def saturated(v: Sequence[Ball]) -> bool:  # w (m - 15) >= EDGE
        return bool(v[0] * (v[1] - 15) > edge)

    def saturated_flat(v: Sequence[Ball]) -> bool:  # b (1 - 15 k) >= EDGE
        return bool(_part(v[0]).sqrt() * (1 - 15 * v[1]) > edge)

    def not_nearest(v: Sequence[Ball]) -> bool:  # |z_j| > w step / 2
        return bool(v[0] * (4 * abs(v[1])).exp() > 1)

    top = (EDGE / (1 - 15 / FAR)) ** 2
    found = [
        Chart("small $w$", ((zero, SLOW**2), (zero, FAR)), neuron.gentle),
        Chart(
            "middle $w$",
            ((SLOW, STEEP), (-Fraction(1, 7), FAR)),
            neuron.slopes,
            saturated,
            neuron.slopes_jacobian,
        ),
        Chart("small $w/b$", ((zero, top + 1), (zero, 1 / FAR)), neuron.flat, saturated_flat),
        Chart("all samples saturated", ((zero, small), (zero, one)), neuron.saturated),
    ]
    half = SAMPLES // 2
    found += [
        Chart(
            f"step at sample {j + 1}", ((zero, least), (-EDGE, EDGE)), neuron.near(j), not_nearest
        )
        for j in range(half)
    ]
    return found + [
        Chart(f"step after sample {j + 1}", ((zero, small), (zero, small)), neuron.between(j))
        for j in range(half)
    ]


def prove(neuron: Neuron, depth: int = 24) -> dict[str, Cover]:
    """The cover of every chart, by its name."""
    return {
        c.name: all_zeros(c.system, c.box, jacobian=c.jacobian, outside=c.outside, depth=depth)
        for c in charts(neuron)
    }


def boxes_as_numbers(cover: Cover) -> np.ndarray:
    """(count, 5): low and high of both coordinates, and 0 empty, 1 single, 2 outside,
    3 undecided."""
    kinds = (cover.empty, cover.single, cover.outside, cover.undecided)
    rows = [[*map(float, (*b[0], *b[1])), k] for k, kind in enumerate(kinds) for b in kind]
    return np.array(rows)


def lines(covers: dict[str, Cover]) -> list[dict[str, str]]:
    """The table of the chapter: charts of one kind together."""
    groups: dict[str, list[Cover]] = {}
    for name, cover in covers.items():
        kind = name.rsplit(" sample ", 1)[0]
        groups.setdefault(kind, []).append(cover)
    return [
        {
            "charts": f"{kind}" + (f", {len(group)} charts" if len(group) > 1 else ""),
            "empty boxes": f"{sum(len(c.empty) for c in group):,}",
            "with one": str(sum(len(c.single) for c in group)),
            "undecided": str(sum(len(c.undecided) for c in group)),
        }
        for kind, group in groups.items()
    ]


def inside(net: MLP, boxes: Sequence[Box]) -> bool:
    """Whether a net of one neuron, its signs changed if need be, lies in a box (w, b / w)."""
    assert net.biases[0] is not None
    w, m = float(net.weights[0]), float(net.biases[0] / net.weights[0].flatten())
    return any(low <= abs(w) <= high and left <= m <= right for (low, high), (left, right) in boxes)
