"""Certificates of critical points are proved again by other intervals, and mutations are caught."""

from dataclasses import replace

import flint
import pytest
import torch
from other_intervals import agrees
from planted_problem import problem

from lib.certify import certify_point
from lib.certify.enclosure import Passes, passes
from lib.curvature import hessian, inertia
from lib.nets import MLP, flatten, gradient, init, risk, unflatten
from lib.nets.activations import elu, leaky_relu
from lib.width import split

# seeds at which the Hessian is well conditioned
SHAPES = [((1, 2, 1), "tanh", 6, 20), ((2, 1, 2), "sigmoid", 1, 10), ((1, 1, 2, 1), "tanh", 4, 12)]


@pytest.mark.parametrize("widths, sigma, seed, n", SHAPES)
def test_a_certificate_is_proved_by_other_intervals(widths, sigma, seed, n):
    net, x, y = problem(widths, sigma, seed=seed, n=n)
    found = certify_point(net, x, y)
    assert agrees(found, x, y)
    assert found.counts == inertia(hessian(net, x, y)).counts
    assert found.loss[0] <= float(risk(net, x, y)) * (1 + 1e-12)
    assert found.loss[1] >= float(risk(net, x, y)) * (1 - 1e-12)


def test_a_moved_point_and_a_wrong_sign_are_caught_by_other_intervals():
    net, x, y = problem((1, 1, 1), n=8)
    found = certify_point(net, x, y)
    assert agrees(found, x, y)
    theta = flatten(net)
    for index in range(len(theta)):
        moved = theta.clone()
        moved[index] += 2 * found.radius
        assert not agrees(replace(found, net=unflatten(moved, net)), x, y)
    n, z, p = found.counts
    assert not agrees(replace(found, counts=(n + 1, z, p - 1)), x, y)
    flipped = found.inverse.copy()
    flipped[0] *= -1
    assert not agrees(replace(found, inverse=flipped), x, y)


def test_dropped_terms_are_caught(monkeypatch):
    # two outputs: with one, C = 0 at a critical point, and products of two layers with it
    net, x, y = problem((2, 1, 2), "sigmoid", seed=1, n=10)
    certify_point(net, x, y)
    size = net.n_parameters
    with monkeypatch.context() as patch:
        patch.setattr(Passes, "_products_of_layers", lambda self: flint.arb_mat(size, size))
        with pytest.raises(ValueError, match="no critical point is proved"):
            certify_point(net, x, y)
    whole = Passes.gradient
    with monkeypatch.context() as patch:
        patch.setattr(Passes, "gradient", lambda self: [self.loss(), *whole(self)[1:]])
        with pytest.raises(ValueError, match="no critical point is proved"):
            certify_point(net, x, y)


@pytest.mark.parametrize(
    "widths, sigma",
    [
        ((2, 3, 2), "tanh"),
        ((2, 2, 3, 1), "sigmoid"),
        ((1, 2, 2, 2), elu(0.7)),
        ((2, 3, 1), leaky_relu(0.2)),
        ((2, 2, 1), "relu"),
        ((2, 2, 2), "identity"),
    ],
)
def test_balls_hold_gradient_and_hessian_of_every_net_in_them(widths, sigma):
    draws = torch.Generator().manual_seed(1)
    net = init(widths, sigma, generator=draws)
    x = torch.randn(5, widths[0], generator=draws, dtype=torch.float64)
    y = torch.randn(5, widths[-1], generator=draws, dtype=torch.float64)
    inside = unflatten(flatten(net) + 1e-6 * (2 * torch.rand(net.n_parameters) - 1), net)
    at = passes(net, x, y, 1e-6)
    margin = flint.arb(0, 1e-11)  # the rounding of the floats that are compared
    for ball, value in zip(at.gradient(), flatten(gradient(inside, x, y)).tolist(), strict=True):
        assert (ball + margin).contains(value) and ball.rad() < 1e-3
    exact = hessian(inside, x, y).flatten().tolist()
    for ball, value in zip(at.hessian().entries(), exact, strict=True):
        assert (ball + margin).contains(value) and ball.rad() < 1e-3


def test_what_cannot_be_proved_is_refused():
    net, x, y = problem((1, 2, 1), seed=6)
    with pytest.raises(ValueError, match="singular to rounding, 1 of 10"):
        certify_point(split(net, 1, 0, 0.4), x, y)
    with pytest.raises(ValueError, match="no critical point is proved near"):
        certify_point(init((1, 2, 1), generator=3), x, y)
    with pytest.raises(ValueError, match="too large"):
        certify_point(init((1, 60, 1), generator=3), x, y)
    with pytest.raises(ValueError, match="batch"):
        certify_point(init((1, 2, 1), batch=(2,), generator=3), x, y)
    with pytest.raises(TypeError, match="float32"):
        certify_point(net.to(torch.float32), x.float(), y.float())


def test_a_kink_is_refused():
    one = torch.ones(1, 1, dtype=torch.float64)
    net = MLP((one, one), (torch.zeros(1, dtype=torch.float64), None), "relu")
    x = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)
    with pytest.raises(ValueError, match="kink"):
        passes(net, x, x)
