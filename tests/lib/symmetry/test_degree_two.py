"""Rescaling for p-homogeneous activations with p != 1 (Zhang et al. 2021, App. A.1): relu^2."""

import pytest
import torch
from draws import seeded

from lib.critical import plant
from lib.curvature import hessian, inertia
from lib.nets import Activation, flatten, forward, gradient, init, mse
from lib.symmetry import rescale, rescaling_direction

SQUARE = Activation(
    "relu squared",
    lambda t: t.relu() ** 2,
    lambda t: 2 * t.relu(),
    lambda t: 2 * (t > 0).to(t.dtype),
    degree=2,
)


def critical_net():
    draws = seeded(1)
    net = init((2, 3, 1), SQUARE, generator=draws)
    x = torch.randn(40, 2, generator=draws, dtype=torch.float64)
    return net, x, plant(net, x, draws, residual=0.3)


@pytest.mark.parametrize("factor", [0.2, 3.0])
def test_output_weights_go_with_the_factor_to_the_power_minus_two(factor):
    net, x, y = critical_net()
    moved = rescale(net, 1, 1, factor)
    torch.testing.assert_close(moved.weights[0][1], factor * net.weights[0][1])
    torch.testing.assert_close(moved.weights[1][:, 1], net.weights[1][:, 1] / factor**2)
    torch.testing.assert_close(forward(moved, 9 * x), forward(net, 9 * x), rtol=1e-12, atol=1e-12)
    assert float(flatten(gradient(moved, x, y)).abs().sum()) < 1e-11


def test_every_active_neuron_adds_one_zero_along_its_rescaling():
    """(w, b, a) -> (w, b, -2 a): the derivative of rescaling at factor 1 lies in the kernel."""
    net, x, y = critical_net()
    h = hessian(net, x, y, lambda output, targets: mse(output, targets))
    assert inertia(h, require=False).counts[1] >= 3
    for neuron in range(3):
        direction = flatten(rescaling_direction(net, 1, neuron))
        assert float((h @ direction).abs().max()) < 1e-12
        difference = flatten(rescale(net, 1, neuron, 1 + 1e-6)) - flatten(net)
        torch.testing.assert_close(difference / 1e-6, direction, rtol=1e-5, atol=1e-5)
