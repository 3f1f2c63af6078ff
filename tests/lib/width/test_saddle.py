"""Three-fold global splitting turns minima into strict saddles (Zhang et al. 2022, Thm 6.3)."""

import numpy as np
import pytest
import torch

from lib.critical import plant
from lib.curvature import decompose, hessian, inertia
from lib.nets import MLP, cross_entropy, flatten, forward, gradient, init, unflatten
from lib.nets.activations import get
from lib.width import saddle_witness
from lib.width.constructions import three_fold


def case(widths, name, seed=3, std=2.0):
    """An exact minimum: H = H^(1) + r H^(2), the residual r so small that the smallest eigenvalue
    stays positive."""
    g = torch.Generator().manual_seed(seed)
    net = init(widths, name, std=std, generator=g)
    x = 2 * torch.randn(net.n_parameters + 8, widths[0], generator=g, dtype=torch.float64)
    y = plant(net, x, g)
    parts = decompose(net, x, y)
    values = torch.linalg.eigvalsh(parts.gauss_newton)
    positive = values[values > 1e-13 * values[-1]][
        0
    ]  # ReLU nets have exact zeros, on which H^(2) vanishes too
    residual = min(1.0, float(0.5 * positive / parts.second_order.norm()))
    return net, x, forward(net, x) + residual * (y - forward(net, x))


def second_difference(net, direction, x, y, step):
    """R(theta + t u) - 2 R(theta) + R(theta - t u) over t^2, the curvature along u with no
    derivative taken."""
    theta, u = flatten(net), flatten(direction)
    risks = [
        float(((forward(unflatten(theta + t * u, net), x) - y) ** 2).mean())
        for t in (step, 0.0, -step)
    ]
    return (risks[0] - 2 * risks[1] + risks[2]) / step**2


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "elu"])
@pytest.mark.parametrize("widths", [(2, 3, 1), (2, 2, 2, 1), (2, 2, 2, 2)])
def test_theorem_6_3_a_minimum_becomes_a_strict_saddle(name, widths):
    net, x, y = case(widths, name)
    before = inertia(hessian(net, x, y), require=False)
    found = saddle_witness(net, x, y)
    wide = found.embedding(net)
    h, u = hessian(wide, x, y), flatten(found.direction)
    assert before.counts[0] == 0  # a minimum, by the small residual
    assert float(flatten(gradient(wide, x, y)).abs().sum()) < 1e-12
    curvature = float(u @ h @ u)
    # rounding of sums over M'^2 entries
    assert curvature == pytest.approx(
        float(found.curvature), abs=1e-14 * len(h) * float(h.abs().max())
    )
    assert curvature < 0
    assert inertia(h, require=False).counts[0] > 0
    expected = -found.eigenvalue / 2 if found.eigenvalue > 0 else 2 * found.eigenvalue
    assert float(found.curvature) == float(expected)
    assert float(u @ u) == pytest.approx(1.5 if found.eigenvalue > 0 else 2.0)


def test_theorem_6_3_by_finite_differences_of_the_risk():
    net, x, _ = case((2, 3, 1), "tanh", std=0.8)
    y = plant(net, x, torch.Generator().manual_seed(0))
    found = saddle_witness(net, x, y)
    wide = found.embedding(net)
    # The error of the difference is t^2 times a fourth derivative, plus eps / t^2.
    assert second_difference(wide, found.direction, x, y, 1e-3) == pytest.approx(
        float(found.curvature), rel=1e-3
    )


def test_both_signs_of_the_eigenvalue_occur_and_the_steeper_is_taken():
    seen = set()
    for seed in range(12):
        net, x, y = case((1, 1, 1), "tanh", seed)
        found = saddle_witness(net, x, y)
        hidden = net.n_parameters - 2  # all but W^[2] and b^[2]
        values = np.linalg.eigvalsh(decompose(net, x, y).second_order.numpy()[:hidden, :hidden])
        assert float(found.curvature) == pytest.approx(
            min(-values[-1] / 2, 2 * values[0]), rel=1e-9
        )
        seen.add(bool(found.eigenvalue > 0))
    assert seen == {True, False}


@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
def test_piecewise_linear_nets_need_the_output_weights(name):
    """sigma'' = 0 leaves H^(2) no hidden block in two-layer nets: the witness couples W^[2] with
    the hidden layer."""
    net, x, y = case((2, 3, 2), name)
    found = saddle_witness(net, x, y)
    assert found.block == "joint"
    assert float(found.eigenvalue) < 0
    wide = found.embedding(net)
    h, u = hessian(wide, x, y), flatten(found.direction)
    assert float(u @ h @ u) == pytest.approx(2 * float(found.eigenvalue), abs=1e-13)
    assert inertia(hessian(net, x, y)).counts[0] == 0 < inertia(h).counts[0]


def test_theorem_6_3_when_the_hidden_block_is_zero():
    """One hidden ReLU layer: H^(2) has no hidden block, the joint block has trace zero and so a
    negative eigenpair (lambda, v), and u = (v, -v, 0) has curvature 2 lambda."""
    net, x, y = case((2, 3, 2), "relu")
    outer = net.weights[1].numel()
    joint = net.n_parameters - net.biases[1].numel()
    h2 = decompose(net, x, y).second_order[:joint, :joint]
    assert float(h2[: joint - outer, : joint - outer].abs().max()) == 0.0
    assert abs(float(h2.trace())) == 0.0
    values, vectors = torch.linalg.eigh(h2)
    assert float(values[0]) < -1e-6 and float(values[0]) == pytest.approx(-float(values[-1]))
    v = torch.cat([vectors[:, 0], vectors.new_zeros(net.biases[1].numel())])
    found = saddle_witness(net, x, y)
    copies = unflatten(v, net)
    u = MLP(
        [
            torch.cat([copies.weights[0], -copies.weights[0], 0 * copies.weights[0]]),
            torch.cat([copies.weights[1], -copies.weights[1], 0 * copies.weights[1]], 1),
        ],
        [torch.cat([copies.biases[0], -copies.biases[0], 0 * copies.biases[0]]), copies.biases[1]],
        "relu",
    )
    h = hessian(found.embedding(net), x, y)
    curvature = float(flatten(u) @ h @ flatten(u))
    assert curvature == pytest.approx(2 * float(values[0]), rel=1e-9) and found.block == "joint"
    assert curvature == pytest.approx(float(found.curvature), rel=1e-9)


def test_cross_entropy():
    g = torch.Generator().manual_seed(0)
    net, x = init((2, 3, 3), generator=g), torch.randn(20, 2, generator=g, dtype=torch.float64)
    y = torch.arange(20) % 3
    found = saddle_witness(net, x, y, cross_entropy)
    h, u = hessian(found.embedding(net), x, y, cross_entropy), flatten(found.direction)
    assert float(u @ h @ u) == pytest.approx(
        float(found.curvature), abs=1e-12
    )  # holds off criticality too


def test_batches_and_mixed_blocks():
    g = torch.Generator().manual_seed(0)
    net = init((2, 3, 2), "tanh", batch=(2, 3), generator=g)
    x, y = (torch.randn(20, 2, generator=g, dtype=torch.float64) for _ in range(2))
    found = saddle_witness(net, x, y)
    assert found.block == [["hidden"] * 3] * 2
    assert found.curvature.shape == (2, 3)
    u, h = flatten(found.direction), hessian(found.embedding(net), x, y)
    torch.testing.assert_close(
        torch.einsum("...i,...ij,...j", u, h, u), found.curvature, rtol=1e-9, atol=1e-12
    )
    for i in range(2):
        one = saddle_witness(net[i, 1], x, y)
        assert float(one.curvature) == pytest.approx(float(found.curvature[i, 1]))


def test_nets_without_biases():
    g = torch.Generator().manual_seed(0)
    net = init((2, 2, 2, 1), bias=False, generator=g)
    x, y = (torch.randn(20, m, generator=g, dtype=torch.float64) for m in (2, 1))
    found = saddle_witness(net, x, y)
    u, h = flatten(found.direction), hessian(found.embedding(net), x, y)
    assert float(u @ h @ u) == pytest.approx(float(found.curvature), abs=1e-12)


def test_no_witness_where_h2_vanishes():
    """H^(2) = 0 is necessary for truly-bad minima: a perfect fit, or no hidden layer to bend."""
    net, x, _ = case((2, 3, 1), "tanh")
    with pytest.raises(
        ValueError, match=r"H\^\(2\) of MLP\(2-3-1.* is zero over the weights .*no witness exists"
    ):
        saddle_witness(net, x, forward(net, x))
    with pytest.raises(ValueError, match="has no hidden layer"):
        saddle_witness(MLP((torch.ones(1, 2).double(),)), x, x[:, :1])
    with pytest.raises(
        ValueError, match="expected lib.nets.losses.mse or lib.nets.losses.cross_entropy"
    ):
        saddle_witness(net, x, x[:, :1], lambda f, y: (f - y).abs().mean())


def test_scalar_relu_nets_at_critical_points_have_no_witness():
    """W_j E[e sigma'(z_j) x] = 0 is the gradient of the hidden layer: with one output the coupling
    vanishes with it."""
    net, x, y = case((2, 3, 1), "relu")
    assert float(decompose(net, x, y).second_order.abs().max()) < 1e-12
    with pytest.raises(ValueError, match="no witness exists"):
        saddle_witness(net, x, y)
    assert get("relu").degree == 1


def test_the_direction_leaves_the_output_unchanged_to_first_order():
    net, x, y = case((2, 3, 2, 1), "tanh")
    found = saddle_witness(net, x, y)
    wide = three_fold(net)(net)
    theta, u = flatten(wide), flatten(found.direction)
    moved = [forward(unflatten(theta + t * u, wide), x) for t in (1e-4, -1e-4)]
    assert float((moved[0] - moved[1]).abs().max()) / 2e-4 < 1e-7  # t^2 times the third derivative
