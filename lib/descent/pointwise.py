"""Activation functions on `Lanes`: value and slope, within two units in the last place of the exact function.

With z = (k + r) ln2 / c, k an integer and |r| <= 1/2 (c = 2 for tanh, 1 for the others), every exponential function
here is one quotient of T = 2^k, an even polynomial Q and an odd polynomial P in r:

    tanh(r ln2 / 2) = P / Q,      e^(r ln2) = (Q + P) / (Q - P),
    tanh(z)    = ((T - 1) Q + (T + 1) P) / ((T + 1) Q + (T - 1) P),
    sigmoid(z) = T (Q + P) / (T (Q + P) + Q - P),
    e^z - 1    = ((T - 1) Q + (T + 1) P) / (Q - P).

P and Q (degrees 5 and 4) agree with tanh to 5e-18 on |r| <= 1/2; they interpolate it at Chebyshev nodes in r^2. For
k = 0 the terms in T - 1 vanish exactly, so small arguments keep their full relative accuracy. The functions take
u = `unit(kind)` * z instead of z: the caller folds the factor into its weights, once for all samples.
"""

from __future__ import annotations

import math

from numba import njit

from lib.descent.lanes import exponent_from_low_bits, fma, select, splat

TANH, SIGMOID, RELU, LEAKY_RELU, ELU, IDENTITY = range(6)
KINDS = {"tanh": TANH, "sigmoid": SIGMOID, "relu": RELU, "leaky_relu": LEAKY_RELU, "elu": ELU, "identity": IDENTITY}

# Adding this rounds to an integer k and leaves k + 1023, the biased exponent of 2^k, in the lowest bits.
_ROUND = 1.5 * 2.0**52 + 1023.0
_Q0, _Q1 = 4368.0787964418305, 233.17775203670467
_P0, _P1, _P2 = 1513.860751108667, 20.20167065322281, 0.02309439944381583


def unit(kind: int) -> float:
    """The factor that `value` and `slope` expect their argument multiplied by."""
    return {TANH: 2 / math.log(2), SIGMOID: 1 / math.log(2), ELU: 1 / math.log(2)}.get(kind, 1.0)


@njit(inline="always")
def _bounded(u, low, high):
    # In this order a NaN compares false and passes through: it must reach the loss, not be clamped to a number.
    u = select(splat(high) < u, splat(high), u)
    return select(u < splat(low), splat(low), u)


@njit(inline="always")
def _parts(u):
    shifted = u + splat(_ROUND)
    r = u - (shifted - splat(_ROUND))
    s = r * r
    q = fma(s + splat(_Q1), s, splat(_Q0))
    p = r * fma(fma(splat(_P2), s, splat(_P1)), s, splat(_P0))
    return exponent_from_low_bits(shifted), p, q


@njit
def tanh(u):
    """tanh(z) for u = 2 z / ln2; beyond |u| = 60 it is 1 to the last bit."""
    power, p, q = _parts(_bounded(u, -60.0, 60.0))
    down, up = power - splat(1.0), power + splat(1.0)
    return fma(down, q, up * p) / fma(up, q, down * p)


@njit
def sigmoid(u):
    """1 / (1 + e^-z) for u = z / ln2; the exponent stays in the normal range, so it ends at 2^-1020 instead of 0."""
    power, p, q = _parts(_bounded(u, -1020.0, 1020.0))
    grown = power * (q + p)
    return grown / (grown + (q - p))


@njit
def expm1(u):
    """e^z - 1 for u = z / ln2, z <= 0; 0 for z > 0."""
    power, p, q = _parts(_bounded(u, -60.0, 0.0))
    return fma(power - splat(1.0), q, (power + splat(1.0)) * p) / (q - p)


@njit
def value(kind, parameter, u):
    """sigma(z); `parameter` is the slope of leaky ReLU or the alpha of ELU."""
    if kind == TANH:
        return tanh(u)
    if kind == SIGMOID:
        return sigmoid(u)
    zero = splat(0.0)
    if kind == RELU:
        return select(u <= zero, zero, u)
    if kind == LEAKY_RELU:
        return select(u <= zero, splat(parameter) * u, u)
    if kind == ELU:
        return select(u <= zero, splat(parameter) * expm1(u), u * splat(math.log(2)))
    return u


@njit
def slope(kind, parameter, u, t):
    """sigma'(z), given u and t = `value`; at a kink the left limit, as in `lib.activations`."""
    one, zero = splat(1.0), splat(0.0)
    if kind == TANH:
        return fma(zero - t, t, one)
    if kind == SIGMOID:
        return fma(zero - t, t, t)
    if kind == RELU:
        return select(u <= zero, zero, one)
    if kind == LEAKY_RELU:
        return select(u <= zero, splat(parameter), one)
    if kind == ELU:
        return select(u <= zero, t + splat(parameter), one)
    return one
