"""Where lifted manifolds end, activations that have none, and how data shrink them."""

import pytest
import torch
from draws import seeded
from lifted_minima import data, lifted_minimum

from lib.critical import plant
from lib.curvature import hessian
from lib.depth import approximate_lift, exits, layer_on_data, lift, lifted_from, slide
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
)
from lib.nets.activations import elu, leaky_relu


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
    errors = exits(deep, x, y, 2).errors
    single = layer_on_data(deep, x, 2).reader_errors(y)
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


def test_reader_errors_against_autograd_of_the_biases():
    """dR/db^[l+1] is the sum over the sample of the errors of layer l + 1, for every layer and both
    losses."""
    x, net = data(8, 2), init((2, 3, 4, 2), "tanh", generator=0)
    for loss, y in ((mse, data(8, 2, 1)), (cross_entropy, torch.arange(8) % 2)):
        slopes = gradient(net, x, y, loss)
        for layer in (1, 2):
            errors = layer_on_data(net, x, layer).reader_errors(y, loss)
            assert (errors.sum(0) - slopes.biases[layer]).abs().max() < 1e-15


@pytest.mark.parametrize("sigma", ["tanh", "sigmoid"])
def test_approximate_lift_meets_its_error_and_shrinks_with_the_scale(sigma):
    x = data(20, 2)
    net = init((2, 3, 1), sigma, generator=0)
    y = plant(net, x, seeded(0), residual=0.3)
    for position, width in ((0, 2), (1, 4), (1, 1)):
        for error in (1e-2, 1e-5):
            found = approximate_lift(net, x, position, width, error=error, generator=seeded(0))
            gap = float((forward(found.net, x) - forward(net, x)).abs().max())
            assert (
                gap == found.error and 0.9 * error < gap <= error
            )  # bisection ends within 1e-6 of the scale
        coarse, fine = (
            approximate_lift(net, x, position, width, scale=s, generator=seeded(0))
            for s in (1e-2, 1e-3)
        )
        assert 90 < coarse.error / fine.error < 110  # inflection point: O(scale^2)
        slopes = [flatten(gradient(found.net, x, y)).norm() for found in (coarse, fine)]
        assert 9 < slopes[0] / slopes[1] < 11  # A is O(1 / scale): O(scale)


def test_approximate_lift_off_the_inflection_point_is_first_order():
    x, net = data(20, 2), init((2, 3, 1), "tanh", generator=0)
    a, b = (
        approximate_lift(net, x, 1, 4, scale=s, centre=0.5, generator=seeded(0)).error
        for s in (1e-3, 1e-4)
    )
    assert 9 < a / b < 11


def _boundary_case(call):
    return call(*lifted_minimum("relu"))


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("neuron 5 outside 0..4", lambda net, deep, x, y: slide(deep, x, 2, 5, 0.1)),
        ("neuron -1 outside", lambda net, deep, x, y: slide(deep, x, 2, -1, 0.1)),
        ("is not linearised", lambda net, deep, x, y: slide(deep, x, 1, 0, 0.1)),
        ("layer 3 outside 1..2", lambda net, deep, x, y: slide(deep, x, 3, 0, 0.1)),
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
            lambda *_: layer_on_data(
                init((1, 1, 1), batch=(2,), generator=0), data(3, 1), 1
            ).reader_errors(data(3, 1)),
        ),
        (
            "need biases",
            lambda *_: slide(
                init((1, 1, 1), "identity", bias=False, generator=0), data(3, 1), 1, 0, 0.1
            ),
        ),
        (
            "relu has an affine piece: use lift",
            lambda n, _, x, y: approximate_lift(n, x, 1, 3, scale=0.1, generator=seeded(0)),
        ),
        (
            "exactly one of them",
            lambda n, _, x, y: approximate_lift(
                init((2, 1, 1), generator=0), x, 1, 3, generator=seeded(0)
            ),
        ),
        (
            "exactly one",
            lambda n, _, x, y: approximate_lift(
                init((2, 1, 1), generator=0), x, 1, 3, error=0.1, scale=0.1, generator=seeded(0)
            ),
        ),
        (
            "error is -1",
            lambda n, _, x, y: approximate_lift(
                init((2, 1, 1), generator=0), x, 1, 3, error=-1, generator=seeded(0)
            ),
        ),
        (
            "slope 0 at centre 50",
            lambda n, _, x, y: approximate_lift(
                init((2, 1, 1), generator=0), x, 1, 3, scale=1.0, centre=50, generator=seeded(0)
            ),
        ),
        (
            "no scale gives",
            lambda n, _, x, y: approximate_lift(
                init((2, 3, 1), std=9.0, generator=0), x, 1, 3, error=1e-300, generator=seeded(0)
            ),
        ),
        (
            "width 1 is too small",
            lambda n, _, x, y: approximate_lift(
                init((2, 3, 2), generator=0), x, 1, 1, scale=0.1, generator=seeded(0)
            ),
        ),
        (
            "has no bias",
            lambda n, _, x, y: approximate_lift(
                init((2, 3, 2), bias=False, generator=0), x, 1, 2, scale=0.1, generator=seeded(0)
            ),
        ),
        (
            "is a batch",
            lambda n, _, x, y: approximate_lift(
                init((2, 3, 2), batch=(2,), generator=0), x, 1, 2, scale=0.1, generator=seeded(0)
            ),
        ),
    ],
)
def test_impossible_requests_are_refused(message, call):
    with pytest.raises(ValueError, match=message):
        _boundary_case(call)
