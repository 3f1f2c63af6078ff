"""Ways out of lifted minima: the exit that can be opened at every neuron, and the bend of tanh."""

import pytest
import torch
from draws import seeded
from lifted_minima import data, lifted_minimum

from experiments.depth.escape import open_exit
from experiments.depth.nonlinearity import bending
from lib.critical import plant
from lib.curvature import decompose, hessian, inertia
from lib.depth import approximate_lift, exits, layer_on_data, lift, lifted_from, slide
from lib.nets import MLP, flatten, forward, gradient, init, risk, unflatten
from lib.nets.activations import leaky_relu


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
        e = layer_on_data(opened, x, 2).reader_errors(y)[found.sample[neuron]].norm()
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


def test_theorem_bending_makes_tanh_lifts_of_minima_saddles():
    """B6 for tanh: as the scale -> 0 the gradient vanishes but the smallest eigenvalues stay, at
    those of the form K."""
    x = data(60, 2, seed=3)
    net = init((2, 1, 1), "tanh", generator=seeded(4))
    y = plant(net, x, seeded(5), residual=0.05)
    assert inertia(hessian(net, x, y)).counts == (0, 0, 5)  # a strict minimum
    rows = []
    for scale in (1e-2, 1e-3):
        found = approximate_lift(net, x, 0, 3, scale=scale, generator=seeded(1))
        smallest = torch.linalg.eigvalsh(hessian(found.net, x, y))[0]
        predicted = bending(found.net, x, y, 1)
        assert predicted.shape == (6,)
        rows.append(
            (float(flatten(gradient(found.net, x, y)).norm()), float(smallest), float(predicted[0]))
        )
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


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("pull is 0", lambda net, deep, x, y: open_exit(deep, x, y, 2, 0, pull=0.0)),
        (
            "has no freedom at neuron 0",
            lambda net, deep, x, y: open_exit(lift(net, x, 1, 3, generator=seeded(0)), x, y, 2, 0),
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
    ],
)
def test_impossible_requests_are_refused(message, call):
    with pytest.raises(ValueError, match=message):
        call(*lifted_minimum("relu"))
