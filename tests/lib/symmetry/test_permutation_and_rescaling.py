"""Permutation and homogeneous rescaling (Zhang et al. 2021, App. A.1)."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mlp_oracle import arrays, nets, neurons, samples

from lib.critical import plant
from lib.curvature import hessian, inertia
from lib.nets import flatten, forward, gradient, init
from lib.symmetry import permute, rescale, rescaling_direction
from lib.width import append, split

few = settings(max_examples=30, deadline=None, derandomize=True)


@few
@given(st.data(), nets(batches=((), (2,))))
def test_permutation_keeps_the_function_and_can_be_undone(data, net):
    layer = data.draw(st.integers(1, net.depth - 1))
    order = data.draw(st.permutations(range(net.widths[layer])))
    other = permute(net, {layer: order})
    x, _ = samples(net, 4)
    torch.testing.assert_close(
        forward(other, x), forward(net, x), rtol=1e-12, atol=1e-13
    )  # another order of summands
    assert torch.equal(flatten(permute(other, {layer: np.argsort(order).tolist()})), flatten(net))
    for i, old in enumerate(order):
        assert torch.equal(other.weights[layer - 1][..., i, :], net.weights[layer - 1][..., old, :])
        assert torch.equal(other.weights[layer][..., i], net.weights[layer][..., old])


@few
@given(st.data(), nets(homogeneous=True, batches=((), (2,))), st.floats(0.05, 20))
def test_rescaling_keeps_the_function_and_can_be_undone(data, net, factor):
    layer, s = data.draw(neurons(net))
    other = rescale(net, layer, s, factor)
    x, _ = samples(net, 4)
    torch.testing.assert_close(forward(other, x), forward(net, x), rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(
        flatten(rescale(other, layer, s, 1 / factor)), flatten(net), rtol=1e-14, atol=0
    )


@few
@given(st.data(), nets(homogeneous=True), st.floats(0.1, 10))
def test_rescaling_transports_the_gradient(data, net, factor):
    layer, s = data.draw(neurons(net))
    x, y = samples(net, 6)
    before, after = (arrays(gradient(n, x, y)) for n in (net, rescale(net, layer, s, factor)))
    before[0][layer - 1][s] /= factor
    before[1][layer - 1][s] /= factor
    before[0][layer][:, s] *= factor
    for a, b in zip((*before[0], *before[1]), (*after[0], *after[1]), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-11)


def test_the_direction_is_the_derivative_of_rescaling():
    net, h = init((2, 3, 2, 1), "leaky_relu", batch=(2,), generator=0), 1e-6
    difference = (flatten(rescale(net, 2, 1, 1 + h)) - flatten(rescale(net, 2, 1, 1 - h))) / (2 * h)
    # central difference: error h^2 * third derivative, plus eps / h
    torch.testing.assert_close(
        difference, flatten(rescaling_direction(net, 2, 1)), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "identity"])
def test_claim_a16_one_zero_mode_for_every_active_neuron(name):
    g = torch.Generator().manual_seed(6)
    net = init((2, 3, 2), name, generator=g)
    x = torch.randn(60, 2, generator=g, dtype=torch.float64)
    y = plant(net, x, g, residual=0.1)
    h = hessian(net, x, y)
    v = torch.stack([flatten(rescaling_direction(net, 1, s)) for s in range(3)])
    assert torch.linalg.matrix_rank(v) == 3
    assert float((v @ h).abs().max()) < 1e-12  # rounding of entries of order 10
    found = inertia(h).counts[1]
    # A linear net of rank 2 has the whole of GL(3) acting: more zeros than the three scalings.
    assert found == 3 if name != "identity" else found > 3


def test_a_silent_neuron_has_a_direction_along_its_input_weights_only():
    net = append(
        init((1, 1, 1), "relu", generator=0),
        1,
        torch.ones(1).double(),
        0.5,
        torch.zeros(1).double(),
    )
    direction = rescaling_direction(net, 1, 1)
    assert direction.weights[1].tolist() == [[0, 0]]
    assert direction.weights[0].tolist() == [[0], [1]]


def test_rescaled_splits_stay_critical():
    g = torch.Generator().manual_seed(0)
    net = init((2, 3, 1), "relu", generator=g)
    x = torch.randn(40, 2, generator=g, dtype=torch.float64)
    y = plant(net, x, g)
    wide = rescale(split(net, 1, 0, 0.3), 1, 3, torch.tensor([0.1, 2.0, 7.0]).double())
    assert wide.batch == (3,)
    # gradients of rescaled weights are divided by 0.1
    assert float(flatten(gradient(wide, x, y)).abs().sum(-1).max()) < 1e-11


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: permute(init((1, 2, 1), generator=0), {1: [0, 0]}),
            ValueError,
            r"order of layer 1 is \[0, 0\]: expected a permutation of 0..1",
        ),
        (
            lambda: permute(init((1, 2, 1), generator=0), {1: [0]}),
            ValueError,
            r"expected a permutation",
        ),
        (lambda: permute(init((1, 2, 1), generator=0), {2: [0]}), ValueError, r"layer 2 outside"),
        (
            lambda: rescale(init((1, 2, 1), "tanh", generator=0), 1, 0, 2.0),
            ValueError,
            r"tanh is not homogeneous: expected relu",
        ),
        (
            lambda: rescale(init((1, 2, 1), "elu", generator=0), 1, 0, 2.0),
            ValueError,
            r"elu\(1\) is not homogeneous",
        ),
        (
            lambda: rescaling_direction(init((1, 2, 1), "sigmoid", generator=0), 1, 0),
            ValueError,
            r"sigmoid is not homogeneous",
        ),
        (
            lambda: rescale(init((1, 2, 1), "relu", generator=0), 1, 0, 0.0),
            ValueError,
            r"factor is 0: expected > 0",
        ),
        (
            lambda: rescale(init((1, 2, 1), "relu", generator=0), 1, 0, -2.0),
            ValueError,
            r"factor is -2: expected > 0",
        ),
        (
            lambda: rescale(init((1, 2, 1), "relu", generator=0), 1, 0, math.nan),
            ValueError,
            r"factor is nan",
        ),
        (
            lambda: rescale(init((1, 2, 1), "relu", generator=0), 1, 4, 2.0),
            ValueError,
            r"neuron 4 outside",
        ),
    ],
)
def test_impossible_requests(call, error, message):
    with pytest.raises(error, match=message):
        call()
