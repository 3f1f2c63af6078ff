"""Where lifted manifolds end, activations that have none, and how data shrink them."""

import math

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from lib.critical.planted import plant
from lib.curvature import decompose, hessian, inertia
from lib.depth import (
    approximate_lift,
    bending,
    exits,
    in_hull,
    kink_errors,
    layer_error,
    lift,
    lifted_from,
    merge,
    one_piece_probability,
    open_exit,
    pieces_of,
    slide,
)
from lib.nets import (
    MLP,
    cross_entropy,
    features,
    flatten,
    forward,
    gradient,
    init,
    mse,
    preactivations,
    risk,
    unflatten,
)
from lib.nets.activations import elu, leaky_relu


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def data(n: int, width: int, seed: int = 0):
    return torch.randn(n, width, generator=seeded(1000 + seed), dtype=torch.float64)


def lifted_minimum(sigma, residual: float = 0.1, seed: int = 3):
    """A shallow minimum with a residual, and one element of its lifted manifold."""
    x = data(30, 2)
    while True:
        net = init((2, 3, 1), sigma, generator=seeded(seed))
        y = plant(net, x, seeded(0), residual=residual)
        found = inertia(hessian(net, x, y), require=False)
        # A neuron that sees one sample only forces that sample's error to 0: no pull at the
        # boundary to measure.
        pulled = layer_error(net, x, y, 2).abs().min() > 1e-7
        if bool(found.clear) and found.counts[0] == 0 and pulled:
            return net, lift(net, x, 1, 5, generator=seeded(seed)), x, y
        seed += 1


@pytest.mark.parametrize("sigma", ["relu", leaky_relu(0.3), "elu"], ids=str)
def test_sliding_inside_stays_in_the_lifted_manifold(sigma):
    net, deep, x, y = lifted_minimum(sigma)
    for neuron in range(5):
        for distance in (3.0, 0.5, 1e-3):
            moved = slide(deep, x, 2, neuron, distance)
            assert lifted_from(moved, net, x) == (2,)
            assert flatten(gradient(moved, x, y)).norm() < 1e-10
            nearest = preactivations(moved, x)[1][:, neuron].abs().min()
            assert abs(float(nearest) - distance) < 1e-12
        assert lifted_from(slide(deep, x, 2, neuron, -0.01), net, x) is None


@pytest.mark.parametrize("sigma", ["relu", leaky_relu(0.3), elu(0.4)], ids=str)
def test_first_order_exits_match_finite_differences(sigma):
    """sigma' jumps at the end of the piece: the risk leaves its plateau linearly, at the rate <e,
    A_j> |jump|."""
    _, deep, x, y = lifted_minimum(sigma)
    found, base = exits(deep, x, y, 2), risk(deep, x, y)
    assert (found.first < 0).any() and (found.first > 0).any()
    d = 1e-6
    for j in range(5):
        rate = (risk(slide(deep, x, 2, j, -d), x, y) - base) / d
        # the O(d) remainder is a curvature times d; curvatures here are below 1e3
        assert abs(float(rate - found.first[j])) < 1e-3 * max(1.0, abs(float(found.first[j])))
    assert torch.equal(found.descends, found.first < 0)


def test_theorem_boundary_exits_of_elu_are_of_second_order():
    """ELU is C^1: the boundary point is critical, and one-sided curvature <e, A_j> makes it a
    saddle from outside."""
    _, deep, x, y = lifted_minimum("elu")
    found, base = exits(deep, x, y, 2), risk(deep, x, y)
    assert (found.first == 0).all() and (found.second < 0).any() and (found.second > 0).any()
    d = 1e-3
    for j in range(5):
        edge = slide(deep, x, 2, j, 0.0)
        assert flatten(gradient(edge, x, y)).norm() < 1e-10
        curvature = 2 * (risk(slide(deep, x, 2, j, -d), x, y) - base) / d**2
        # third order: sigma''' d / 3 relative, plus rounding of the risk over d^2
        assert abs(float(curvature - found.second[j])) < 3e-3 * max(
            1.0, abs(float(found.second[j]))
        )
        outside = torch.linalg.eigvalsh(hessian(slide(deep, x, 2, j, -1e-7), x, y))
        inside = torch.linalg.eigvalsh(hessian(slide(deep, x, 2, j, 1e-7), x, y))
        assert inside[0] > -1e-10
        if found.second[j] < 0:
            assert outside[0] < -1e-4


@pytest.mark.parametrize("sigma", ["relu", leaky_relu(0.3), "elu"], ids=str)
def test_theorem_every_lifted_minimum_has_a_flat_path_to_an_exit(sigma):
    """Same lifted manifold, same risk, and past the boundary the risk falls at the rate asked
    for."""
    net, deep, x, y = lifted_minimum(sigma)
    base = risk(deep, x, y)
    for neuron in range(5):
        opened = open_exit(deep, x, y, 2, neuron, pull=3.0)
        assert lifted_from(opened, net, x) == (2,)
        found = exits(opened, x, y, 2)
        e = layer_error(opened, x, y, 3)[found.sample[neuron]].norm()
        rate = found.second[neuron] if sigma == "elu" else found.first[neuron]
        jump = 0.7 if sigma != "relu" and sigma != "elu" else 1.0
        assert float(rate) == pytest.approx(float(-3.0 * e * jump), rel=1e-9)
        halfway = [MLP_between(deep, opened, s) for s in (0.25, 0.5, 0.75)]
        for point in [*halfway, *(slide(opened, x, 2, neuron, d) for d in (1.0, 0.1, 1e-6))]:
            assert abs(float(risk(point, x, y) - base)) < 1e-14
            assert lifted_from(point, net, x) == (2,)
        assert risk(slide(opened, x, 2, neuron, -1e-4), x, y) < base


def MLP_between(a: MLP, b: MLP, s: float) -> MLP:
    return unflatten((1 - s) * flatten(a) + s * flatten(b), a)


def test_samples_that_share_a_feature_reach_the_kink_together():
    """The samples a ReLU switches off all have feature 0: their errors add up, and at a critical
    point they cancel."""
    x = data(30, 2)
    net = init((2, 1, 1), "relu", generator=seeded(1))
    y = plant(net, x, seeded(0), residual=0.5)
    off = features(net, x)[1][:, 0] == 0
    assert 3 < int(off.sum()) < 27
    deep = lift(net, x, 1, 3, generator=seeded(2))
    at_zero = deep.weights[1][:, 0] > 0  # these neurons meet feature 0 first
    errors, single = kink_errors(deep, x, y, 2), layer_error(deep, x, y, 3)
    assert (errors[at_zero] - single[off].sum(0)).abs().max() < 1e-15
    assert errors[at_zero].abs().max() < 1e-14 < 1e-3 < single[off].abs().max()


def test_leaky_relu_negative_pieces_end_at_their_upper_side():
    net = MLP(
        (torch.ones(1, 1), torch.ones(1, 1)),
        (torch.full((1,), -5.0), torch.zeros(1)),
        leaky_relu(0.5),
    )
    x = torch.tensor([[0.0], [3.0]])
    moved = slide(net, x, 1, 0, 0.25)
    assert moved.biases[0].tolist() == [-3.25] and moved.biases[1].tolist() == [-0.5 * 1.75]
    # outputs -2.5 and -1 at x; beyond the kink sample 1 gains (1 - 0.5) d
    found = exits(net, x, torch.tensor([[-2.5], [-2.0]]), 1)
    assert (
        float(found.first) == pytest.approx(2 / 2 * (-1.0 + 2.0) * 0.5) and int(found.sample) == 1
    )


def test_layer_error_against_autograd_of_the_biases():
    """dR/db^[l] is the sum of the layer's errors over the sample, for every layer and both
    losses."""
    x, net = data(8, 2), init((2, 3, 4, 2), "tanh", generator=0)
    for loss, y in ((mse, data(8, 2, 1)), (cross_entropy, torch.arange(8) % 2)):
        slopes = gradient(net, x, y, loss)
        for layer in (1, 2, 3):
            assert (
                layer_error(net, x, y, layer, loss).sum(0) - slopes.biases[layer - 1]
            ).abs().max() < 1e-15


@pytest.mark.parametrize("sigma", ["tanh", "sigmoid"])
def test_approximate_lift_meets_its_error_and_shrinks_with_the_scale(sigma):
    x = data(20, 2)
    net = init((2, 3, 1), sigma, generator=0)
    y = plant(net, x, seeded(0), residual=0.3)
    for position, width in ((0, 2), (1, 4), (1, 1)):
        for error in (1e-2, 1e-5):
            found = approximate_lift(net, x, y, position, width, error=error)
            gap = float((forward(found.net, x) - forward(net, x)).abs().max())
            assert (
                gap == found.error and 0.9 * error < gap <= error
            )  # bisection ends within 1e-6 of the scale
            assert found.gradient_norm == pytest.approx(
                float(flatten(gradient(found.net, x, y)).norm())
            )
        coarse, fine = (approximate_lift(net, x, y, position, width, scale=s) for s in (1e-2, 1e-3))
        assert 90 < coarse.error / fine.error < 110  # inflection point: O(scale^2)
        assert 9 < coarse.gradient_norm / fine.gradient_norm < 11  # A is O(1 / scale): O(scale)


def test_approximate_lift_off_the_inflection_point_is_first_order():
    x, net = data(20, 2), init((2, 3, 1), "tanh", generator=0)
    a, b = (
        approximate_lift(net, x, x[:, :1], 1, 4, scale=s, centre=0.5).error for s in (1e-3, 1e-4)
    )
    assert 9 < a / b < 11


def test_theorem_bending_makes_tanh_lifts_of_minima_saddles():
    """B6 for tanh: as the scale -> 0 the gradient vanishes but the smallest eigenvalues stay, at
    those of the form K."""
    x = data(60, 2, seed=3)
    net = init((2, 1, 1), "tanh", generator=seeded(4))
    y = plant(net, x, seeded(5), residual=0.05)
    assert inertia(hessian(net, x, y)).counts == (0, 0, 5)  # a strict minimum
    rows = []
    for scale in (1e-2, 1e-3):
        found = approximate_lift(net, x, y, 0, 3, scale=scale, generator=seeded(1))
        smallest = torch.linalg.eigvalsh(hessian(found.net, x, y))[0]
        predicted = bending(found.net, x, y, 1)
        assert predicted.shape == (6,)
        rows.append((found.gradient_norm, float(smallest), float(predicted[0])))
    (coarse, _, _), (fine, smallest, predicted) = rows
    assert 9 < coarse / fine < 11
    assert predicted < -1e-3 and smallest == pytest.approx(predicted, rel=1e-2)  # O(scale) apart
    assert rows[0][2] == pytest.approx(predicted, rel=1e-2)


def test_bending_is_the_hessian_on_the_free_directions_of_an_output_layer():
    """Against autograd: second derivative of the risk along u with A dW = 0, minus the first-order
    output change's part."""
    x, y = data(20, 2), data(20, 1, 1)
    net = init((2, 4, 1), "tanh", generator=seeded(2))
    free = torch.linalg.svd(net.weights[1], full_matrices=True).Vh[1:]
    form = []
    for row in free:
        for column in range(3):
            step = net.map(torch.zeros_like)
            (step.weights[0][:, column] if column < 2 else step.biases[0]).copy_(row)
            form.append(flatten(step))
    basis = torch.stack(form)
    residual_part = decompose(net, x, y).second_order
    assert (
        torch.linalg.eigvalsh(basis @ residual_part @ basis.T) - bending(net, x, y, 1)
    ).abs().max() < 1e-13


def test_one_piece_probability_against_an_integral():
    """n points at +-1 in one dimension: P(w x + b > 0 for both) = P(b > |w|) = E[1 - Phi(|w|)] =
    1/4."""
    x = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    exact = 2 * quad(lambda w: norm.pdf(w) * norm.sf(w), 0, math.inf)[0]
    assert exact == pytest.approx(0.25)
    draws = 200_000
    relu, leaky = (
        float(one_piece_probability(x, [2], s, draws=draws)) for s in ("relu", "leaky_relu")
    )
    error = 4 / (2 * math.sqrt(draws))  # four standard errors
    assert abs(relu - exact) < error and abs(leaky - 2 * exact) < error


def test_theorem_volume_shrinks_with_data_unless_they_fall_into_the_hull():
    """B5: the shares never grow with n, fall faster in more dimensions, and points of the hull
    change nothing at all."""
    falls = []
    for d in (1, 8):
        shares = one_piece_probability(data(128, d), [2, 8, 32, 128], "relu", draws=20_000)
        assert (shares.diff() <= 0).all()
        falls.append(float(shares[-1] / shares[0]))
    assert falls[1] < falls[0]
    cloud = data(10, 2)
    mixing = torch.rand(50, 10, generator=seeded(0), dtype=torch.float64)
    inner = (mixing / mixing.sum(1, keepdim=True)) @ cloud
    assert in_hull(inner, cloud).all()
    shares = one_piece_probability(
        torch.cat([cloud, inner, 5 * data(20, 2, 1)]), [10, 60, 80], "relu", draws=20_000
    )
    assert shares[0] == shares[1] > shares[2]
    assert not in_hull(100 + inner, cloud).any()
    deep = lift(init((2, 3, 1), "relu", generator=0), cloud, 0, 3)
    assert (
        pieces_of(deep, torch.cat([cloud, inner]), 1) >= 0
    ).all()  # still a lift on the larger sample
    merge(deep, torch.cat([cloud, inner]), 1)


def _boundary_case(call):
    return call(*lifted_minimum("relu"))


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("neuron 5 outside 0..4", lambda net, deep, x, y: slide(deep, x, 2, 5, 0.1)),
        ("neuron -1 outside", lambda net, deep, x, y: slide(deep, x, 2, -1, 0.1)),
        ("is not linearised", lambda net, deep, x, y: slide(deep, x, 1, 0, 0.1)),
        ("layer 3 outside 1..2", lambda net, deep, x, y: slide(deep, x, 3, 0, 0.1)),
        ("layer 4 outside 1..3", lambda net, deep, x, y: layer_error(deep, x, y, 4)),
        (
            "lifted manifold has no boundary",
            lambda *_: slide(init((1, 1, 1), "identity", generator=0), data(3, 1), 1, 0, 0.1),
        ),
        (
            "is a batch of nets",
            lambda *_: slide(
                init((1, 1, 1), "identity", batch=(2,), generator=0), data(3, 1), 1, 0, 0.1
            ),
        ),
        (
            "is a batch of nets",
            lambda *_: layer_error(
                init((1, 1, 1), batch=(2,), generator=0), data(3, 1), data(3, 1), 1
            ),
        ),
        (
            "need biases",
            lambda *_: slide(
                init((1, 1, 1), "identity", bias=False, generator=0), data(3, 1), 1, 0, 0.1
            ),
        ),
        (
            "relu has an affine piece: use lift",
            lambda n, _, x, y: approximate_lift(n, x, y, 1, 3, scale=0.1),
        ),
        (
            "exactly one of them",
            lambda n, _, x, y: approximate_lift(init((2, 1, 1), generator=0), x, y, 1, 3),
        ),
        (
            "exactly one",
            lambda n, _, x, y: approximate_lift(
                init((2, 1, 1), generator=0), x, y, 1, 3, error=0.1, scale=0.1
            ),
        ),
        (
            "error is -1",
            lambda n, _, x, y: approximate_lift(init((2, 1, 1), generator=0), x, y, 1, 3, error=-1),
        ),
        (
            "slope 0 at centre 50",
            lambda n, _, x, y: approximate_lift(
                init((2, 1, 1), generator=0), x, y, 1, 3, scale=1.0, centre=50
            ),
        ),
        (
            "no scale gives",
            lambda n, _, x, y: approximate_lift(
                init((2, 3, 1), std=9.0, generator=0), x, y, 1, 3, error=1e-300
            ),
        ),
        (
            "width 1 is too small",
            lambda n, _, x, y: approximate_lift(
                init((2, 3, 2), generator=0), x, x, 1, 1, scale=0.1
            ),
        ),
        (
            "has no bias",
            lambda n, _, x, y: approximate_lift(
                init((2, 3, 2), bias=False, generator=0), x, x, 1, 2, scale=0.1
            ),
        ),
        (
            "is a batch",
            lambda n, _, x, y: approximate_lift(
                init((2, 3, 2), batch=(2,), generator=0), x, x, 1, 2, scale=0.1
            ),
        ),
        ("pull is 0", lambda net, deep, x, y: open_exit(deep, x, y, 2, 0, pull=0.0)),
        (
            "has no freedom at neuron 0",
            lambda net, deep, x, y: open_exit(lift(net, x, 1, 3), x, y, 2, 0),
        ),
        (
            "have total error .*: no pull",
            lambda net, deep, x, y: open_exit(deep, x, forward(deep, x), 2, 0),
        ),
        (
            "has no free direction",
            lambda *_: bending(init((2, 1, 1), generator=0), data(3, 2), data(3, 1), 1),
        ),
        (
            "layer 2 outside",
            lambda *_: bending(init((2, 1, 1), generator=0), data(3, 2), data(3, 1), 2),
        ),
        ("size 4 outside 1..3", lambda *_: one_piece_probability(data(3, 1), [4], "relu")),
        ("tanh has no affine piece", lambda *_: one_piece_probability(data(3, 1), [2], "tanh")),
        ("draws is 0", lambda *_: one_piece_probability(data(3, 1), [2], "relu", draws=0)),
        (r"expected \(k, m\) and \(n >= 1, m\)", lambda *_: in_hull(data(3, 1), data(3, 2))),
    ],
)
def test_impossible_requests_are_refused(message, call):
    with pytest.raises(ValueError, match=message):
        _boundary_case(call)
