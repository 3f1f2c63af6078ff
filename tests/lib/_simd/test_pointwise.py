"""The activations of the CPU kernel against NumPy and SciPy over the whole domain."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import njit
from scipy.special import expit

from lib._simd.lanes import aligned, load, splat, store
from lib._simd.pointwise import (
    ELU,
    IDENTITY,
    LEAKY_RELU,
    NEAR,
    RELU,
    SAFE,
    SIGMOID,
    TANH,
    constants,
    expm1,
    in_lanes,
    literal,
    pull,
    two_values,
    unit,
    value_with,
)

# Eight roundings of relative size 1.1e-16 at most go into one result: below 1e-15 together.
RELATIVE = 1e-15


@njit
def _apply(kind, parameter, scale, safe, table, z, in_code, t, slope):  # noqa: PLR0913
    const = literal(kind) if in_code else in_lanes(table)
    for i in range(z.size // 8):
        u = load(z, i) * splat(scale)
        f = value_with(kind, parameter, u, safe, const)
        store(t, i, f)
        store(slope, i, pull(kind, parameter, splat(3.0), f, splat(3.0) * f))


@njit
def _in_pairs(kind, parameter, scale, safe, table, z, t):
    const = in_lanes(table)
    for i in range(0, z.size // 8, 2):
        one, other = load(z, i) * splat(scale), load(z, i + 1) * splat(scale)
        f, g = two_values(kind, parameter, one, other, safe, const)
        store(t, i, f)
        store(t, i + 1, g)


@njit
def _expm1(scale, z, out):
    for i in range(z.size // 8):
        store(out, i, expm1(load(z, i) * splat(scale)))


@njit
def _pulls(kind, scale, z, near, far):
    const, one = literal(kind), splat(1.0)
    for i in range(z.size // 8):
        t = value_with(kind, 1.0, load(z, i) * splat(scale), True, const)
        store(near, i, pull(kind, 1.0, one, t, t, True))
        store(far, i, pull(kind, 1.0, one, t, t))


def apply(
    kind: int, z: np.ndarray, parameter: float = 1.0, safe: bool = False, in_code: bool = False
):
    """sigma(z) and sigma'(z) by the kernel's functions."""
    padded = aligned(-(-z.size // 8)).reshape(-1)
    padded[: z.size] = z
    t, slope = np.empty_like(padded), np.empty_like(padded)
    _apply(kind, parameter, unit(kind), safe, constants(kind), padded, in_code, t, slope)
    return t[: z.size], slope[: z.size] / 3


def domain(limit: float = 1e4) -> np.ndarray:
    random = np.random.default_rng(0)
    sizes = np.concatenate(
        [10.0 ** random.uniform(-320, math.log10(limit), 4000), random.uniform(0, 25, 4000)]
    )
    special = [
        0.0,
        5e-324,
        1e-310,
        2.2e-308,
        1e-300,
        1e-16,
        0.1732,
        0.17329,
        0.3465735903,
        0.5,
        1,
        18,
        20,
        20.8,
        1e4,
    ]
    special.append(1e300)
    sizes = np.concatenate([sizes, [s for s in special if s <= limit]])
    return np.concatenate([sizes, -sizes])


def relative(found: np.ndarray, exact: np.ndarray) -> float:
    # One unit of the smallest subnormal number is as near as any result can be down there.
    return float(np.max(np.abs(found - exact) / (np.abs(exact) + 5e-324 / RELATIVE)))


@pytest.mark.parametrize("in_code", [False, True])
def test_tanh_over_the_whole_domain(in_code):
    z = domain(1e300)
    t, slope = apply(TANH, z, in_code=in_code)
    assert relative(t, np.tanh(z)) < RELATIVE
    # 1 - t^2 loses what t rounds: a few units of 1 in absolute terms.
    np.testing.assert_allclose(slope, 1 / np.cosh(np.clip(z, -300, 300)) ** 2, rtol=0, atol=3e-15)


def test_tanh_is_odd_and_bounded():
    z = domain()
    t = apply(TANH, z)[0]
    half = z.size // 2
    assert (
        np.abs(t).max() <= 1 + 2.3e-16
    )  # numerator and denominator round apart by a unit in the last place
    np.testing.assert_allclose(t[:half], -t[half:], rtol=RELATIVE, atol=0)


def test_no_clamp_changes_nothing_in_the_safe_range():
    z = domain(SAFE / 3)  # |u| <= 2.9 |z|
    for kind in (TANH, SIGMOID):
        np.testing.assert_array_equal(
            apply(kind, z)[0][np.abs(z) < 20], apply(kind, z, safe=True)[0][np.abs(z) < 20]
        )
        np.testing.assert_allclose(
            apply(kind, z)[0], apply(kind, z, safe=True)[0], rtol=RELATIVE, atol=1e-300
        )


@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.parametrize("kind", [TANH, SIGMOID, ELU, RELU, LEAKY_RELU, IDENTITY])
def test_two_values_by_one_division(kind, safe):
    """Every size beside every other, the extremes of the range without clamps included."""
    edge = SAFE / unit(kind)
    sizes = np.array([0.0, 5e-324, 1e-300, 1e-16, 1e-3, 0.4, 1, 7, 20, 90, 0.5 * edge, edge])
    z = np.concatenate([sizes, -sizes] + ([] if safe else [[1e4, -1e4, 1e300, -1e300]]))
    one, other = (m.reshape(-1) for m in np.meshgrid(z, z))
    pairs = aligned(-(-2 * one.size // 16) * 2).reshape(-1)
    (
        pairs.reshape(-1, 2, 8)[:, 0].flat[: one.size],
        pairs.reshape(-1, 2, 8)[:, 1].flat[: one.size],
    ) = (
        one,
        other,
    )
    found, alone = np.empty_like(pairs), apply(kind, pairs, 0.5)[0]
    _in_pairs(kind, 0.5, unit(kind), safe, constants(kind), pairs, found)
    # the product, its reciprocal and two more products round once each, and two numbers are
    # compared
    np.testing.assert_allclose(found, alone, rtol=1.1e-15, atol=2.0**-1020)


@pytest.mark.parametrize("in_code", [False, True])
def test_sigmoid_over_the_whole_domain(in_code):
    z = domain()
    t, slope = apply(SIGMOID, z, in_code=in_code)
    normal = z > -700  # below, sigmoid is less than 1e-304 and ends at 2^-1020
    # e^z has the condition number |z|: the argument's own rounding, |z| 1.1e-16, is in the result.
    assert np.all(
        np.abs(t - expit(z))[normal] <= (RELATIVE + 2.3e-16 * np.abs(z[normal])) * expit(z)[normal]
    )
    assert np.all((t[~normal] >= 0) & (t[~normal] < 1e-303))
    np.testing.assert_allclose(slope, expit(z) * expit(-z), rtol=0, atol=1e-15)


@pytest.mark.parametrize("alpha", [1.0, 0.3])
@pytest.mark.parametrize("in_code", [False, True])
def test_elu_over_the_whole_domain(alpha, in_code):
    z = domain()
    t, slope = apply(ELU, z, alpha, in_code=in_code)
    exact = np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))
    assert (
        relative(t, exact) < 2 * RELATIVE
    )  # the product with ln2 / ln2 of positive arguments rounds twice more
    np.testing.assert_allclose(
        slope, np.where(z > 0, 1, alpha * np.exp(np.minimum(z, 0))), rtol=0, atol=1e-15
    )


def test_expm1_alone():
    z = -np.abs(domain())
    padded = aligned(-(-z.size // 8)).reshape(-1)
    padded[: z.size] = z
    out = np.empty_like(padded)
    _expm1(unit(ELU), padded, out)
    assert relative(out[: z.size], np.expm1(z)) < RELATIVE


@pytest.mark.parametrize(
    ("kind", "below", "parameter"), [(RELU, 0.0, 1.0), (LEAKY_RELU, 0.2, 0.2), (IDENTITY, 1.0, 1.0)]
)
def test_piecewise_linear_functions_are_exact(kind, below, parameter):
    z = domain(1e300)
    t, slope = apply(kind, z, parameter)
    np.testing.assert_array_equal(t, np.where(z > 0, z, below * z))
    # Where the product below * z underflows to 0 the side is that of z <= 0, as it should be.
    np.testing.assert_allclose(slope, np.where(z > 0, 1.0, below), rtol=2.3e-16)


@pytest.mark.parametrize("kind", [TANH, SIGMOID, RELU, LEAKY_RELU, ELU, IDENTITY])
def test_a_nan_stays_a_nan(kind):
    t = apply(kind, np.array([np.nan, 1.0]))[0]
    assert np.isnan(t[0]) and not np.isnan(t[1])


def test_infinities_saturate():
    z = np.array([np.inf, -np.inf])
    np.testing.assert_array_equal(apply(TANH, z)[0], [1, -1])
    np.testing.assert_allclose(apply(SIGMOID, z)[0], [1, 0], atol=1e-300)
    np.testing.assert_array_equal(apply(ELU, z)[0], [np.inf, -1])


@pytest.mark.parametrize("kind", (TANH, SIGMOID, ELU))
def test_within_near_no_derivative_is_at_the_end_of_the_range(kind):
    z = aligned(512).reshape(-1)
    z[:] = np.linspace(-1, 1, z.size) * NEAR / unit(kind)
    near, far = np.empty_like(z), np.empty_like(z)
    _pulls(kind, unit(kind), z, near, far)
    np.testing.assert_array_equal(near, far)
    assert (far[z != 0] > 0).all()
