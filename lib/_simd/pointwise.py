"""Activation functions on `Lanes`, within six units in the last place of the exact function, four
for z > 0.

(The sigmoid far to the left, where it is e^z, errs by about |z| units, as does any function of a
rounded multiple of z.)

With z = (k + r) ln2 / c, k an integer and |r| <= 1/2 (c = 2 for tanh, 1 for the others), every
exponential function here is one quotient of T = 2^k, an even polynomial Q and an odd polynomial P
in r:

    tanh(r ln2 / 2) = P / Q,      e^(r ln2) = (Q + P) / (Q - P),
    tanh(z)    = (G + P) / (G + Q)                 with G = (T - 1) (Q + P) / 2,
    sigmoid(z) = T (Q + P) / (T (Q + P) + Q - P),
    e^z - 1    = ((T - 1) (Q + P) + 2 P) / (Q - P).

P and Q (degrees 5 and 4) agree with tanh to 5e-18 on |r| <= 1/2; they interpolate it at Chebyshev
nodes in r^2. For k = 0 the terms in T - 1 vanish exactly, so small arguments keep their full
relative accuracy. The functions take u = `unit(kind)` * z instead of z: the caller folds the factor
into its weights, once for all samples."""

from __future__ import annotations

import math

import numpy as np

from lib._simd.compiled import njit
from lib._simd.lanes import (
    Floats,
    Lanes,
    Memory,
    broadcast,
    exponent_from_low_bits,
    fma,
    fnma,
    magnitude,
    select,
    splat,
)

Constants = tuple[Lanes, Lanes, Lanes, Lanes, Lanes, Lanes, Lanes, Lanes, Lanes]
TANH, SIGMOID, RELU, LEAKY_RELU, ELU, IDENTITY = range(6)
KINDS = {
    "tanh": TANH,
    "sigmoid": SIGMOID,
    "relu": RELU,
    "leaky_relu": LEAKY_RELU,
    "elu": ELU,
    "identity": IDENTITY,
}

# Adding it rounds a number to an integer k whose lowest bits, as stored, are k + 1023: the exponent
# field of 2^k.
_ROUND = 1.5 * 2.0**52 + 1023.0
_Q0, _Q1 = 4368.0787964418305, 233.17775203670467
_P0, _P1, _P2 = 1513.860751108667, 20.20167065322281, 0.02309439944381583
SAFE = 480.0  # for |u| up to this, (2^k Q)^2 is an ordinary number: no clamp is needed
NEAR = 48.0  # for |u| up to this, tanh, sigmoid and ELU stay off the ends of their ranges
_LOW, _HIGH = (
    {TANH: -60.0, ELU: -60.0},
    {TANH: 60.0, ELU: 0.0},
)  # beyond, tanh is 1 and e^z is 0 to the last bit
_TO_UNIT = 1 / math.log(2)
_END = 1 - 2.0**-50  # of the range of tanh and sigmoid, less four units in the last place of 1


def unit(kind: int) -> float:
    """The factor that `value` expects its argument multiplied by."""
    return {TANH: 2 * _TO_UNIT, SIGMOID: _TO_UNIT, ELU: _TO_UNIT}.get(kind, 1.0)


def constants(kind: int) -> Floats:
    """What `value_with` computes with, for `in_lanes`."""
    # tanh has all its powers halved, which saves doubling P and Q.
    rounder, one = (_ROUND - 1, 0.5) if kind == TANH else (_ROUND, 1.0)
    return np.array(
        [rounder, _Q0, _Q1, _P0, _P1, _P2, one, _LOW.get(kind, -1020.0), _HIGH.get(kind, SAFE)]
    )


@njit
def in_lanes(table: Memory) -> Constants:
    """The `constants` as a tuple of `Lanes`.

    Passing them to a kernel as data makes it a tenth faster: as constants of the code, the compiler
        chooses to load
    them again in the innermost loop.
    """
    return (
        broadcast(table, 0),
        broadcast(table, 1),
        broadcast(table, 2),
        broadcast(table, 3),
        broadcast(table, 4),
        broadcast(table, 5),
        broadcast(table, 6),
        broadcast(table, 7),
        broadcast(table, 8),
    )


@njit
def literal(kind: int) -> Constants:
    """The `constants` in the code, for whoever has no table at hand."""
    rounder, one = (_ROUND - 1.0, 0.5) if kind == TANH else (_ROUND, 1.0)
    low, high = (-60.0, 60.0) if kind == TANH else (-60.0, 0.0) if kind == ELU else (-1020.0, SAFE)
    return (
        splat(rounder),
        splat(_Q0),
        splat(_Q1),
        splat(_P0),
        splat(_P1),
        splat(_P2),
        splat(one),
        splat(low),
        splat(high),
    )


@njit
def _parts(u: Lanes, safe: bool, c: Constants) -> tuple[Lanes, Lanes, Lanes]:
    rounder, q0, q1, p0, p1, p2, _, low, high = c
    if (
        not safe
    ):  # in this order a NaN compares false and passes: it must reach the loss, not become a number
        u = select(high < u, high, u)
        u = select(u < low, low, u)
    shifted = u + rounder
    r = u - (shifted - rounder)
    s = r * r
    q = fma(s + q1, s, q0)
    p = r * fma(fma(p2, s, p1), s, p0)
    return exponent_from_low_bits(shifted), p, q


@njit
def _fraction(kind: int, u: Lanes, safe: bool, c: Constants) -> tuple[Lanes, Lanes]:
    """Numerator and denominator of tanh(z), sigmoid(z) or e^z - 1; the product of two denominators
    is an ordinary number."""
    if kind == TANH:
        half_power, p, q = _parts(u, safe, c)
        g = (half_power - c[6]) * (q + p)
        return g + p, g + q
    if kind == SIGMOID:
        power, p, q = _parts(u, safe, c)
        grown = power * (q + p)
        return grown, grown + (q - p)
    power, p, q = _parts(u, False, c)
    return fma(power - c[6], q + p, p + p), q - p


@njit
def _rest(kind: int, parameter: float, u: Lanes, quotient: Lanes) -> Lanes:
    # What is left once the fraction is divided out, or all of it where there is none.
    if kind in (TANH, SIGMOID):
        return quotient
    zero = splat(0.0)
    if kind == RELU:
        return select(u < zero, zero, u)
    if kind == LEAKY_RELU:
        return select(u < zero, splat(parameter) * u, u)
    if kind == ELU:
        return select(u < zero, splat(parameter) * quotient, u * splat(math.log(2)))
    return u


@njit
def value_with(kind: int, parameter: float, u: Lanes, safe: bool, c: Constants) -> Lanes:
    """sigma(z) from the constants c of this kind; `safe` when |u| <= SAFE is known.

    `parameter` is the slope of leaky ReLU or the alpha of ELU. Sigmoid ends at 2^-1020 instead
    of 0."""
    quotient = u
    if kind in (TANH, SIGMOID, ELU):
        above, below = _fraction(kind, u, safe, c)
        quotient = above / below
    return _rest(kind, parameter, u, quotient)


@njit
def two_values(
    kind: int, parameter: float, u: Lanes, v: Lanes, safe: bool, c: Constants
) -> tuple[Lanes, Lanes]:
    """`value_with` of two arguments by one division, 1 / q = s / (q s) and 1 / s = q / (q s), at
    the cost of one more unit.

    On many processors the division of eight numbers takes as long as all other operations of the
    function together. A NaN in one argument makes a NaN of both results, so both should belong to
    one net."""
    at_u, at_v = u, v
    if kind in (TANH, SIGMOID, ELU):
        p, q = _fraction(kind, u, safe, c)
        r, s = _fraction(kind, v, safe, c)
        inverse = splat(1.0) / (q * s)
        at_u, at_v = p * (inverse * s), r * (inverse * q)
    return _rest(kind, parameter, u, at_u), _rest(kind, parameter, v, at_v)


@njit
def expm1(u: Lanes) -> Lanes:
    """e^z - 1 for u = z / ln2, z <= 0; 0 for z > 0."""
    above, below = _fraction(ELU, u, False, literal(ELU))
    return above / below


@njit
def pull(kind: int, parameter: float, r: Lanes, t: Lanes, rt: Lanes, near: bool = False) -> Lanes:
    """r sigma'(z), given t = sigma(z) and r t; at a kink the left limit, as in
    `lib.nets.activations`. `near` when |u| <= NEAR is known, which saves a tenth of a step.

    Where t lies within its own rounding of the end of the range, sigma' is 0: a rest of rounding
    would be multiplied by inputs of any size. In this order of comparing a NaN stays a NaN. The
    sign of t tells the side of a kink, so `parameter` has to be positive.
    """
    zero = splat(0.0)
    if kind == TANH:
        slope = fnma(rt, t, r)
        return slope if near else select(splat(_END) <= magnitude(t), zero, slope)
    if kind == SIGMOID:
        slope = fnma(rt, t, rt)
        return slope if near else select(splat(_END) <= t, zero, slope)
    if kind == RELU:
        return select(zero < t, r, zero)
    if kind == LEAKY_RELU:
        return select(zero < t, r, splat(parameter) * r)
    if kind == ELU:
        slope = fma(splat(parameter), r, rt)
        if not near:
            slope = select(t <= splat(-_END * parameter), zero, slope)
        return select(zero < t, r, slope)
    return r
