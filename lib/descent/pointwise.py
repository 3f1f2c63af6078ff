"""Activation functions on `Lanes`, within three units in the last place of the exact function.

With z = (k + r) ln2 / c, k an integer and |r| <= 1/2 (c = 2 for tanh, 1 for the others), every exponential function
here is one quotient of T = 2^k, an even polynomial Q and an odd polynomial P in r:

    tanh(r ln2 / 2) = P / Q,      e^(r ln2) = (Q + P) / (Q - P),
    tanh(z)    = (G + P) / (G + Q)                 with G = (T - 1) (Q + P) / 2,
    sigmoid(z) = T (Q + P) / (T (Q + P) + Q - P),
    e^z - 1    = ((T - 1) (Q + P) + 2 P) / (Q - P).

P and Q (degrees 5 and 4) agree with tanh to 5e-18 on |r| <= 1/2; they interpolate it at Chebyshev nodes in r^2. For
k = 0 the terms in T - 1 vanish exactly, so small arguments keep their full relative accuracy. The functions take
u = `unit(kind)` * z instead of z: the caller folds the factor into its weights, once for all samples.
"""

from __future__ import annotations

import math

from numba import njit

from lib.descent.lanes import exponent_from_low_bits, fma, fnma, select, splat

TANH, SIGMOID, RELU, LEAKY_RELU, ELU, IDENTITY = range(6)
KINDS = {"tanh": TANH, "sigmoid": SIGMOID, "relu": RELU, "leaky_relu": LEAKY_RELU, "elu": ELU, "identity": IDENTITY}

# Adding this to a number rounds it to an integer k whose lowest bits, as stored, are k + 1023: 2^k's exponent field.
_ROUND = 1.5 * 2.0**52 + 1023.0
_ROUND_HALVED = _ROUND - 1.0
SAFE = 1000.0  # 2^k Q stays a normal number for |u| up to this: no clamp is needed there
_Q0, _Q1 = 4368.0787964418305, 233.17775203670467
_P0, _P1, _P2 = 1513.860751108667, 20.20167065322281, 0.02309439944381583


def unit(kind: int) -> float:
    """The factor that `value` expects its argument multiplied by."""
    return {TANH: 2 / math.log(2), SIGMOID: 1 / math.log(2), ELU: 1 / math.log(2)}.get(kind, 1.0)


@njit
def _bounded(u, low, high, safe):
    if safe:
        return u
    # In this order a NaN compares false and passes through: it must reach the loss, not be clamped to a number.
    u = select(splat(high) < u, splat(high), u)
    return select(u < splat(low), splat(low), u)


@njit
def _parts(u, rounder):
    shifted = u + splat(rounder)
    r = u - (shifted - splat(rounder))
    s = r * r
    q = fma(s + splat(_Q1), s, splat(_Q0))
    p = r * fma(fma(splat(_P2), s, splat(_P1)), s, splat(_P0))
    return exponent_from_low_bits(shifted), p, q


@njit
def tanh(u, safe=False):
    """tanh(z) for u = 2 z / ln2; beyond |u| = 60 it is 1 to the last bit."""
    half, p, q = _parts(_bounded(u, -60.0, 60.0, safe), _ROUND_HALVED)
    g = (half - splat(0.5)) * (q + p)
    return (g + p) / (g + q)


@njit
def sigmoid(u, safe=False):
    """1 / (1 + e^-z) for u = z / ln2; the exponent stays in the normal range, so it ends at 2^-1020 instead of 0."""
    power, p, q = _parts(_bounded(u, -1020.0, 1000.0, safe), _ROUND)
    grown = power * (q + p)
    return grown / (grown + (q - p))


@njit
def expm1(u, safe=False):
    """e^z - 1 for u = z / ln2, z <= 0; 0 for z > 0."""
    power, p, q = _parts(_bounded(u, -60.0, 0.0, safe), _ROUND)
    return fma(power - splat(1.0), q + p, p + p) / (q - p)


@njit
def value(kind, parameter, u, safe=False):
    """sigma(z); `parameter` is the slope of leaky ReLU or the alpha of ELU. `safe`: |u| <= SAFE is known."""
    if kind == TANH:
        return tanh(u, safe)
    if kind == SIGMOID:
        return sigmoid(u, safe)
    zero = splat(0.0)
    if kind == RELU:
        return select(u <= zero, zero, u)
    if kind == LEAKY_RELU:
        return select(u <= zero, splat(parameter) * u, u)
    if kind == ELU:
        return select(u <= zero, splat(parameter) * expm1(u, safe), u * splat(math.log(2)))
    return u


@njit
def pull(kind, parameter, r, t, rt):
    """r sigma'(z), given t = sigma(z) and r t; at a kink the left limit, as in `lib.activations`.

    The sign of t tells the side of the kink, so `parameter` has to be positive.
    """
    if kind == TANH:
        return fnma(rt, t, r)
    if kind == SIGMOID:
        return fnma(rt, t, rt)
    zero = splat(0.0)
    if kind == RELU:
        return select(zero < t, r, zero)
    if kind == LEAKY_RELU:
        return select(zero < t, r, splat(parameter) * r)
    if kind == ELU:
        return select(zero < t, r, fma(splat(parameter), r, rt))
    return r


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
