"""Hessians against autograd, finite differences and closed forms; inertia against matrices built to
have it."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.curvature import (
    NoSpectralGap,
    decompose,
    extreme_eigenvalues,
    hessian,
    inertia,
    lanes,
)
from lib.curvature.exact import working_bytes
from lib.curvature.matrix_free import hvp
from lib.nets import (
    MLP,
    activations,
    cross_entropy,
    flatten,
    forward,
    gradient,
    init,
    mse,
    risk,
    unflatten,
)

F64 = torch.float64
SIGMAS = ["tanh", "sigmoid", "relu", "identity", activations.leaky_relu(0.2), activations.elu(1.3)]


def problem(widths, sigma, loss, *, batch=(), bias=(True, True), n=7, seed=0):
    g = torch.Generator().manual_seed(seed)
    net = init(widths, sigma, batch=batch, bias=bias[0], output_bias=bias[1], generator=g)
    x = torch.randn(n, widths[0], generator=g, dtype=F64)
    if loss is cross_entropy:
        return net, x, torch.randint(widths[-1], (n,), generator=g)
    return net, x, torch.randn(n, widths[-1], generator=g, dtype=F64)


def by_autograd(net, x, y, loss):
    """Row by row, double backward on one net: shares no code with `hessian`."""
    theta = flatten(net).requires_grad_()
    (slope,) = torch.autograd.grad(
        risk(unflatten(theta, net), x, y, loss), theta, create_graph=True
    )
    return torch.stack([torch.autograd.grad(s, theta, retain_graph=True)[0] for s in slope])


@pytest.mark.parametrize(
    "bias", [(True, True), (True, False), (False, False)], ids=["bias", "no output bias", "no bias"]
)
@pytest.mark.parametrize("loss", [mse, cross_entropy])
@pytest.mark.parametrize("sigma", SIGMAS, ids=repr)
def test_hessian_is_that_of_autograd(sigma, loss, bias):
    for widths in [(3, 2), (2, 3, 1), (2, 1, 3, 2), (2, 2, 1, 2, 2)]:
        net, x, y = problem(widths, sigma, loss, batch=(2,), bias=bias, n=4)
        h = hessian(net, x, y, loss)[1]
        expected = by_autograd(net[1], x, y, loss)
        # both sum the same products in another order: rounding, relative to the largest entry
        torch.testing.assert_close(
            h, expected, rtol=0, atol=1e-14 * max(1.0, float(expected.abs().max()))
        )
        assert torch.equal(h, h.mT)


@pytest.mark.parametrize("loss", [mse, cross_entropy])
@pytest.mark.parametrize("sigma", SIGMAS, ids=repr)
@pytest.mark.parametrize(("widths", "count", "biases"), [
    ((1, 1, 1), 1, (True, True)), ((4, 2, 3), 8, (True, False)), ((2, 5, 1), 9, (False, False)), ((3, 4, 2), 17, (True, True)),  # noqa: E501
    ((3, 2), 3, (True, True)), ((2, 3, 3, 1), 9, (True, False)), ((2, 1, 3, 2, 4), 10, (False, True)), ((4, 9, 9, 3), 5, (True, True)),  # noqa: E501
])  # fmt: skip
def test_eight_nets_side_by_side_give_the_hessians_of_matrix_products(
    sigma, widths, count, biases, loss, monkeypatch
):
    net, x, y = problem(widths, sigma, loss, batch=(count,), bias=biases, n=11)
    assert lanes.fits(net, loss)
    found, total = decompose(net, x, y, loss), hessian(net, x, y, loss)
    monkeypatch.setattr(lanes, "fits", lambda net, loss: False)
    exact = decompose(net, x, y, loss)
    scale = float(exact.total.abs().max())
    torch.testing.assert_close(
        found.gauss_newton, exact.gauss_newton, rtol=1e-12, atol=1e-14 * scale + 1e-16
    )
    torch.testing.assert_close(
        found.second_order, exact.second_order, rtol=1e-12, atol=1e-14 * scale + 1e-16
    )
    torch.testing.assert_close(total, exact.total, rtol=1e-12, atol=1e-14 * scale + 1e-16)
    assert torch.equal(total, total.mT)


def test_the_kernel_is_left_where_it_is_not_the_fastest():
    deep, wide = (
        init((4, 9, 9, 3), batch=(8,), generator=0),
        init((1, 40, 1), batch=(8,), generator=0),
    )
    assert lanes.fits(deep, mse) and not lanes.fits(deep[0], mse)
    assert lanes.fits(wide, cross_entropy) and not lanes.fits(wide, mse)
    assert not lanes.fits(init((8, 12, 12, 3), batch=(8,), generator=0), mse)
    assert not lanes.fits(deep, risk) and not lanes.fits(deep.to(torch.float32), mse)


def test_hessian_is_the_central_difference_of_the_gradient():
    for loss in (mse, cross_entropy):
        net, x, y = problem((2, 3, 2, 2), "tanh", loss)
        theta, step = flatten(net), 1e-5
        columns = []
        for i in range(net.n_parameters):
            e = torch.zeros_like(theta)
            e[i] = step
            up, down = (
                flatten(gradient(unflatten(theta + s * e, net), x, y, loss)) for s in (1, -1)
            )
            columns.append((up - down) / (2 * step))
        # truncation step^2 * third derivative and rounding eps / step, both about 1e-10
        torch.testing.assert_close(
            hessian(net, x, y, loss), torch.stack(columns), rtol=0, atol=1e-8
        )


def test_hessian_of_one_neuron_in_closed_form():
    w, b, a, x, y = 0.7, -0.2, 1.3, 0.9, 0.4
    net = MLP(
        (torch.tensor([[w]], dtype=F64), torch.tensor([[a]], dtype=F64)),
        (torch.tensor([b], dtype=F64), None),
    )
    t = math.tanh(w * x + b)
    s, r = 1 - t * t, a * t - y
    j = np.array([a * s * x, a * s, t])  # df/d(w, b, a)
    second = np.array(
        [
            [-2 * a * t * s * x * x, -2 * a * t * s * x, s * x],
            [-2 * a * t * s * x, -2 * a * t * s, s],
            [s * x, s, 0],
        ]
    )
    expected = 2 * np.outer(j, j) + 2 * r * second
    h = hessian(net, torch.tensor([[x]], dtype=F64), torch.tensor([[y]], dtype=F64))
    np.testing.assert_allclose(h.numpy(), expected, rtol=1e-14, atol=1e-15)


def test_hessian_of_a_linear_model_is_the_gram_matrix():
    net, x, y = problem((3, 1), "tanh", mse, bias=(False, False))
    np.testing.assert_allclose(hessian(net, x, y), 2 / len(x) * x.T @ x, rtol=1e-14)
    assert decompose(net, x, y).second_order.abs().max() == 0


@pytest.mark.parametrize("loss", [mse, cross_entropy])
def test_decompose_into_gauss_newton_and_second_order(loss):
    net, x, y = problem((2, 3, 2, 2), "tanh", loss, batch=(3,))
    parts = decompose(net, x, y, loss)
    torch.testing.assert_close(parts.total, hessian(net, x, y, loss), rtol=0, atol=1e-15)
    # convex losses: H1 >= 0, up to rounding of its largest eigenvalue
    values = torch.linalg.eigvalsh(parts.gauss_newton)
    assert bool((values[:, 0] >= -1e-14 * values[:, -1]).all())
    # H1 = E J^T B J with the Jacobian and B from autograd
    theta = flatten(net[0])
    f = unflatten(theta, net[0])
    jac = torch.autograd.functional.jacobian(lambda t: forward(unflatten(t, f), x), theta)
    out = forward(f, x)
    b = torch.autograd.functional.hessian(lambda o: loss(o, y), out)
    gn = torch.einsum("ikp,ikjl,jlq->pq", jac, b, jac)
    torch.testing.assert_close(parts.gauss_newton[0], gn, rtol=0, atol=1e-14)


def test_second_order_part_vanishes_at_zero_residual():
    """H^(2) = E sum_i (d_i loss) grad^2 f_i vanishes with the residuals (Zhang et al. 2022,
    Thm 6.3)."""
    net, x, _ = problem((2, 3, 2), "tanh", mse)
    # The kernel's tanh and that of `forward` may differ in the last bit: so may residuals from
    # zero.
    assert decompose(net, x, forward(net, x)).second_order.abs().max() < 1e-15


def test_any_other_loss_goes_through_autograd():
    def huber_like(output, y):
        return ((1 + (output - y) ** 2).sqrt() - 1).mean(dim=(-2, -1))

    net, x, y = problem((2, 2, 2), "sigmoid", mse, batch=(2, 2), n=4)
    h = hessian(net, x, y, huber_like)
    torch.testing.assert_close(
        h[1, 0], by_autograd(net[1, 0], x, y, huber_like), rtol=0, atol=1e-14
    )
    torch.testing.assert_close(
        hessian(net, x, y, lambda o, t: mse(o, t)), hessian(net, x, y), rtol=0, atol=1e-14
    )
    with pytest.raises(ValueError, match="closed form"):
        decompose(net, x, y, huber_like)


def test_chunks_do_not_change_the_result():
    net, x, y = problem(
        (1, 40, 1), "tanh", mse, batch=(5, 7)
    )  # too wide for the kernel that has no chunks
    whole = hessian(net, x, y)
    one_at_a_time = hessian(net, x, y, memory=8 * whole.numel() + working_bytes(net, len(x)))
    # a matrix product of one matrix may sum in another order than one of many
    torch.testing.assert_close(one_at_a_time, whole, rtol=1e-12, atol=1e-14)
    for none in (net[:0], init((1, 3, 1), batch=(0, 7), generator=0)):
        assert hessian(none, x, y).shape == (0, 7, none.n_parameters, none.n_parameters)


def test_too_large_a_hessian_is_refused_with_the_size_it_needs():
    net, x, y = problem((784, 400, 1), "relu", mse, n=2)
    with pytest.raises(ValueError, match=r"needs \d\.\d+e\+03 GiB .* memory allows 2.*hvp"):
        hessian(net, x, y)
    small = init((1, 3, 1), generator=0)
    with pytest.raises(ValueError, match="memory allows"):
        hessian(small, x[:, :1], y, memory=100)


def test_curvature_refuses_single_precision_and_wrong_shapes():
    net, x, y = problem((2, 3, 2), "tanh", mse)
    with pytest.raises(TypeError, match="float32.*float64"):
        hessian(net.to(torch.float32), x, y)
    with pytest.raises(TypeError, match="x is torch.float32"):
        hessian(net, x.float(), y)
    with pytest.raises(ValueError, match="x has shape"):
        hessian(net, x[:, :1], y)
    with pytest.raises(ValueError, match="targets of shape"):
        hessian(net, x, y[:3])
    with pytest.raises(ValueError, match=r"targets of mse have shape \(7,\)"):
        hessian(net, x, y[:, 0])
    with pytest.raises(TypeError, match="indices"):
        hessian(net, x, y, cross_entropy)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    widths=st.lists(st.integers(1, 4), min_size=2, max_size=5),
    sigma=st.sampled_from(SIGMAS),
    bias=st.sampled_from([(True, True), (True, False), (False, False)]),
    seed=st.integers(0, 99),
)
def test_hvp_is_the_hessian_times_the_vector(widths, sigma, bias, seed):
    net, x, y = problem(tuple(widths), sigma, mse, batch=(2,), bias=bias, n=5, seed=seed)
    v = torch.randn(2, net.n_parameters, generator=torch.Generator().manual_seed(seed), dtype=F64)
    expected = (hessian(net, x, y) @ v.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(
        hvp(net, x, y, v), expected, rtol=0, atol=1e-13 * max(1.0, float(expected.abs().max()))
    )


def test_extreme_eigenvalues_are_those_of_the_dense_hessian():
    net, x, y = problem((2, 8, 2), "tanh", cross_entropy, n=15)
    values, vectors = torch.linalg.eigh(hessian(net, x, y, cross_entropy))
    for which, expected in (("smallest", values[:3]), ("largest", values[-3:])):
        found = extreme_eigenvalues(net, x, y, cross_entropy, k=3, which=which)
        torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-12)
        assert float(found.residuals.max()) < 1e-10  # ARPACK stops at rounding
    top = extreme_eigenvalues(net, x, y, cross_entropy, which="largest").vectors[0]
    assert abs(float(top @ vectors[:, -1])) == pytest.approx(1, abs=1e-10)


def test_matrix_free_errors():
    net, x, y = problem((2, 3, 1), "tanh", mse, batch=(2,))
    with pytest.raises(ValueError, match=r"shape \(13,\): expected \(2, 13\)"):
        hvp(net, x, y, torch.zeros(13, dtype=F64))
    with pytest.raises(ValueError, match="batch of nets"):
        extreme_eigenvalues(net, x, y)
    with pytest.raises(ValueError, match=r"k is 13: expected 1\.\.12"):
        extreme_eigenvalues(net[0], x, y, k=13)
    with pytest.raises(ValueError, match="which is 'middle'"):
        extreme_eigenvalues(net[0], x, y, which="middle")
    with pytest.raises(TypeError, match="float64"):
        extreme_eigenvalues(net[0].to(torch.float32), x.float(), y.float())


def rotated(values, seed=0):
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    h = torch.from_numpy(q @ np.diag(values) @ q.T)
    return (h + h.mT) / 2


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    signs=st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=12),
    decades=st.integers(0, 7),
    scale=st.integers(-6, 6),
    seed=st.integers(0, 99),
)
def test_inertia_of_a_matrix_built_to_have_it(signs, decades, scale, seed):
    rng = np.random.default_rng(seed)
    values = np.array(signs) * 10 ** (scale - decades * rng.random(len(signs)))
    found = inertia(rotated(values, seed))
    assert found.counts == (signs.count(-1), signs.count(0), signs.count(1))
    assert float(found.gap) >= 1e3


def test_sylvester_inertia_is_that_of_a_congruent_matrix():
    rng = np.random.default_rng(3)
    h = rotated([-2.0, -1.0, 0.0, 0.0, 0.5, 3.0])
    s = torch.from_numpy(rng.standard_normal((6, 6)))
    moved = s @ h @ s.mT
    assert inertia((moved + moved.mT) / 2).counts == inertia(h).counts == (2, 2, 2)


def test_inertia_of_a_batch_is_that_of_each():
    h = torch.stack(
        [rotated([-1.0, 0.0, 2.0]), rotated([1.0, 2.0, 3.0]), torch.zeros(3, 3, dtype=F64)]
    ).view(3, 1, 3, 3)
    found = inertia(h)
    assert found.negative.tolist() == [[1], [0], [0]]
    assert found.zero.tolist() == [[1], [0], [3]]
    assert found.positive.tolist() == [[1], [3], [0]]
    assert found.gap[2, 0] == math.inf
    with pytest.raises(ValueError, match="inertia of a batch"):
        _ = found.counts
    assert "3 clear" in repr(found)


def test_no_gap_is_an_error_that_names_the_candidates():
    values = [1.0, 1e-3, 1e-6, 1e-9, 1e-11, 1e-13, 1e-15]
    with pytest.raises(NoSpectralGap, match="only a factor") as caught:
        inertia(rotated(values))
    assert len(caught.value.candidates) == 3 and caught.value.eigenvalues.shape == (7,)
    for low, high in caught.value.candidates:
        assert f"{low:.2e} | {high:.2e}" in str(caught.value)
    lax = inertia(rotated(values), require=False)
    assert not lax.clear and float(lax.gap) < 1e3
    # none of zero's neighbours is clearly non-zero either: no zero eigenvalue, yet too close to
    # rounding
    with pytest.raises(NoSpectralGap):
        inertia(rotated([1.0, 3e-13]))
    with pytest.raises(NoSpectralGap, match=r"matrix \(1,\) of the batch"):
        inertia(torch.stack([rotated([1.0, 2.0]), rotated([1.0, 3e-13])]))


def test_a_stated_uncertainty_or_threshold_moves_the_line():
    h = rotated([-1.0, 5e-13, 1e-9, 2.0])
    with pytest.raises(NoSpectralGap):
        inertia(h)
    assert inertia(h, uncertainty=1e-9).counts == (1, 2, 1)
    assert inertia(h, threshold=1e-8).counts == (1, 2, 1)
    assert inertia(h, threshold=1e-10, gap=10).counts == (1, 1, 2)
    both = inertia(torch.stack([h, h]), uncertainty=torch.tensor([1e-9, 2e-9], dtype=F64))
    assert both.zero.tolist() == [2, 2]


@pytest.mark.parametrize(
    "h, options, error, message",
    [
        (torch.eye(2), {}, TypeError, "float32"),
        (torch.ones(2, 3, dtype=F64), {}, ValueError, "shape"),
        (torch.ones(0, 0, dtype=F64), {}, ValueError, "shape"),
        (torch.tensor([[1.0, 2.0], [0.0, 1.0]], dtype=F64), {}, ValueError, "not symmetric"),
        (torch.tensor([[math.nan]], dtype=F64), {}, ValueError, "non-finite"),
        (torch.eye(2, dtype=F64), {"gap": 1.0}, ValueError, "gap is 1.0"),
        (torch.eye(2, dtype=F64), {"uncertainty": -1.0}, ValueError, "uncertainty is -1.0"),
        (torch.eye(2, dtype=F64), {"threshold": torch.zeros(3)}, ValueError, "threshold has shape"),
    ],
)
def test_inertia_errors(h, options, error, message):
    with pytest.raises(error, match=message):
        inertia(h, **options)


def test_spectrum_of_the_width_2_minimum_of_the_papers_target():
    """(Zhang et al. 2021, Fig. 3a): loss 0.0698, all eigenvalues positive; values recomputed in
    float64 elsewhere."""
    x = torch.linspace(-15, 15, 50, dtype=F64)[:, None]
    y = torch.tanh(x - 7) + torch.tanh(x) + torch.tanh(x + 7)
    theta = torch.tensor(
        [1.30200477, -0.15498901, -9.33564507, -0.41762452, 0.78858773, -2.34185427], dtype=F64
    )
    net = unflatten(theta, init((1, 2, 1), output_bias=False, generator=0))
    assert float(risk(net, x, y)) == pytest.approx(0.069792, abs=1e-6)
    found = inertia(hessian(net, x, y))
    assert found.counts == (0, 0, 6)
    np.testing.assert_allclose(
        found.eigenvalues, [1.31e-4, 6.50e-2, 1.06, 1.87, 3.05, 70.4], rtol=6e-3
    )  # as printed


@pytest.mark.parametrize("code", ["from lib.width import split", "import lib.curvature"])
def test_numba_is_imported_only_where_a_kernel_runs(code):
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print('numba' in sys.modules)"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize("widths", [(2, 3, 2), (2, 40, 2)])
def test_data_that_require_a_gradient_and_no_grad_change_nothing(widths):
    net, x, y = problem(widths, "tanh", mse)
    whole = hessian(net, x, y)
    with torch.no_grad():
        assert torch.equal(hessian(net, x.clone().requires_grad_(), y), whole)
    watched = net.map(lambda p: p.clone().requires_grad_())
    assert torch.equal(hessian(watched, x.clone().requires_grad_(), y.clone()), whole)
    found = hessian(net, x.clone().requires_grad_(), y, lambda f, t: mse(f, t))
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-14)


def test_curvature_refuses_what_is_no_sample():
    net, x, y = problem((2, 3, 2), "tanh", mse)
    labels = torch.zeros(len(x), dtype=torch.int64)
    with pytest.raises(ValueError, match="expected .n, ..."):
        hessian(net, x[:0], y[:0])
    with pytest.raises(ValueError, match="x: 14 of 14 numbers are NaN or infinite"):
        hessian(net, x * torch.nan, y)
    with pytest.raises(ValueError, match="y: 14 of 14 numbers"):
        decompose(net, x, y / 0)
    with pytest.raises(ValueError, match="the weight of layer 1: 6 of 6"):
        hessian(net.map(lambda p: p * torch.inf), x, y)
    for wrong in (-1, 2, -100):
        with pytest.raises(ValueError, match="expected 0"):
            hessian(net, x, labels.index_fill(0, torch.tensor([3]), wrong), cross_entropy)
