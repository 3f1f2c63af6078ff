"""CKA, SVCCA and regression against closed forms, and against one another's definitions by other
routes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.similarity import cka, regression, svcca

QUICK = settings(max_examples=15, deadline=None, derandomize=True)


def orthonormal(n, p, seed=0):
    """Centred orthonormal columns."""
    x = torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.linalg.qr(x - x.mean(0)).Q


def features(n, p, seed=0):
    return torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_closed_forms_for_two_columns():
    q = orthonormal(50, 3)
    angle = 0.3
    x = q[:, :2] * torch.tensor([3.0, 1.0])
    y = torch.stack([math.cos(angle) * q[:, 0] + math.sin(angle) * q[:, 2], q[:, 1]], 1)
    # X = (3 q0, q1), Y = (cos q0 + sin q2, q1): X^T Y = diag(3 cos, 1), X^T X = diag(9, 1), Y^T Y =
    # I
    c = math.cos(angle)
    assert cka(x + 5, y) == pytest.approx(
        (9 * c**2 + 1) / (math.sqrt(82) * math.sqrt(2)), rel=1e-12
    )
    assert svcca(x, y, kept=1) == pytest.approx((1 + c) / 2, rel=1e-12)
    assert regression(x, y) == pytest.approx((c**2 + 1) / 2, rel=1e-12)  # q2 is out of reach
    assert regression(y, x) == pytest.approx((9 * c**2 + 1) / 10, rel=1e-12)


def test_svcca_keeps_the_directions_that_explain_the_share():
    q = orthonormal(40, 4)
    x = q[:, :2] * torch.tensor([3.0, 1.0])  # 90% and 10% of the variance
    y = torch.stack([q[:, 0], q[:, 2]], 1) * torch.tensor([3.0, 1.0])
    assert svcca(x, y, kept=0.89) == pytest.approx(
        1, rel=1e-12
    )  # first directions only, and they agree
    assert svcca(x, y, kept=0.95) == pytest.approx(0.5, rel=1e-12)  # the second ones are orthogonal
    with pytest.raises(ValueError, match="kept is 0"):
        svcca(x, y, kept=0)


def test_orthogonal_features_are_dissimilar():
    q = orthonormal(30, 4)
    for measure in (cka, svcca, regression):
        assert measure(q[:, :2], q[:, 2:]) == pytest.approx(0, abs=1e-12)


@QUICK
@given(seed=st.integers(0, 99), p=st.integers(1, 5), scale=st.floats(0.1, 10))
def test_invariances(seed, p, scale):
    x, y = features(30, p, seed), features(30, 4, seed + 1)
    rotation = torch.linalg.qr(features(p, p, seed + 2)).Q
    mixing = features(p, p, seed + 3) + 3 * torch.eye(p)
    # rotations, scales and shifts change none of the three; float64
    for measure in (cka, svcca, regression):
        assert measure(scale * x @ rotation + 1, y) == pytest.approx(measure(x, y), rel=1e-8)
        assert 0 <= measure(x, y) <= 1 + 1e-12
        assert measure(x, x) == pytest.approx(1, rel=1e-10)
    # any invertible map changes neither the canonical correlations nor what x can predict
    assert svcca(x @ mixing, y, kept=1) == pytest.approx(svcca(x, y, kept=1), rel=1e-8)
    assert regression(x @ mixing, y) == pytest.approx(regression(x, y), rel=1e-8)
    assert cka(x, y) == pytest.approx(cka(y, x), rel=1e-12)


def test_cka_is_the_same_from_features_as_from_samples():
    x, y = features(10, 30), features(10, 4, 1)
    k, l = ((f - f.mean(0)) @ (f - f.mean(0)).T for f in (x, y))
    centre = torch.eye(10) - 0.1
    hsic = lambda a, b: torch.trace(a @ centre.double() @ b @ centre.double()).item()  # noqa: E731
    assert cka(x, y) == pytest.approx(hsic(k, l) / math.sqrt(hsic(k, k) * hsic(l, l)), rel=1e-6)
    narrow = x[:, :5]
    kn = (narrow - narrow.mean(0)) @ (narrow - narrow.mean(0)).T
    assert cka(narrow, y) == pytest.approx(
        hsic(kn, l) / math.sqrt(hsic(kn, kn) * hsic(l, l)), rel=1e-6
    )


def test_canonical_correlations_against_scikit_learn():
    from sklearn.cross_decomposition import CCA

    x, y = features(60, 3), features(60, 2, 1) + features(60, 3)[:, :2]
    model = CCA(n_components=2, scale=False, max_iter=5000, tol=1e-12).fit(x.numpy(), y.numpy())
    u, v = model.transform(x.numpy(), y.numpy())
    expected = [abs(np.corrcoef(u[:, i], v[:, i])[0, 1]) for i in range(2)]
    # their iteration's tolerance
    assert svcca(x, y, kept=1) == pytest.approx(np.mean(expected), abs=1e-6)


def test_regression_is_the_r2_of_least_squares():
    x, y = features(50, 3), features(50, 2, 1) + features(50, 3)[:, :2]
    design = torch.cat([x, torch.ones(50, 1, dtype=torch.float64)], 1)
    residual = y - design @ torch.linalg.lstsq(design, y).solution
    expected = 1 - residual.square().sum() / (y - y.mean(0)).square().sum()
    assert regression(x, y) == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("scale", [1e100, 1e-100, 1e200, 1e-300, -3.0])
@pytest.mark.parametrize("measure", [cka, svcca, regression])
def test_no_measure_depends_on_the_size_of_the_numbers(scale, measure):
    x, y = features(50, 4), features(50, 3, 1)
    assert measure(x * scale, y) == pytest.approx(measure(x, y), rel=1e-10)
    assert measure(x, y * scale) == pytest.approx(measure(x, y), rel=1e-10)
    assert measure(x * scale, x) == pytest.approx(1, rel=1e-10)
    big = x.float() * 1e30  # squares leave float32
    assert measure(big, y) == pytest.approx(measure(x, y), rel=1e-5)


def test_a_large_offset_is_no_feature():
    x, y = features(50, 4), features(50, 3, 1)
    assert cka(x + 1e6, y) == pytest.approx(cka(x, y), rel=1e-6)  # x itself loses 1e-10
    for constant in (0.1, 1e9, -1e-200, 0.0):
        with pytest.raises(ValueError, match="the features x are the same"):
            cka(torch.full((50, 4), constant, dtype=torch.float64), y)
    with pytest.raises(ValueError, match="the features x are the same"):
        cka(torch.full((50, 4), 0.1), y)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_features_that_are_not_finite_are_refused(wrong):
    x, y = features(9, 2), features(9, 2, 1)
    y[3, 1] = wrong
    for measure in (cka, svcca, regression):
        with pytest.raises(ValueError, match="y: 1 of 18 numbers are NaN or infinite"):
            measure(x, y)


def test_bad_features_are_refused():
    x = features(5, 2)
    with pytest.raises(ValueError, match=r"x is \(5, 2\) and y \(4, 2\)"):
        cka(x, x[:4])
    with pytest.raises(ValueError, match="the features y are the same for all 5 samples"):
        regression(x, torch.ones(5, 2))
    with pytest.raises(ValueError, match=r"expected \(n, p\)"):
        cka(torch.zeros(2, 3, 4), x)
