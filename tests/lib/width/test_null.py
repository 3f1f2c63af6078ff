"""Null neurons: what they need in order to keep critical points critical (Zhang et al. 2022,
Def. 4.3, Thm 4.1)."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mlp_oracle import arrays, nets, samples

from lib.critical import plant
from lib.nets import MLP, flatten, forward, gradient, init
from lib.width import append, null_embed, split

few = settings(max_examples=30, deadline=None, derandomize=True)


def l1(net, x, y):
    return float(flatten(gradient(net, x, y)).abs().sum())


@few
@given(st.data(), nets(all_biases=True, batches=((), (2,))), st.floats(-3, 3))
def test_definition_4_3_and_the_output(data, net, bias):
    layer = data.draw(st.integers(1, net.depth - 1))
    wide = null_embed(net, layer, bias)
    x, _ = samples(net, 4)
    # A sum with one more zero in it may be added up in another order.
    torch.testing.assert_close(forward(wide, x), forward(net, x), rtol=1e-12, atol=1e-13)
    assert (wide.weights[layer - 1][..., -1, :] == 0).all()
    assert (wide.weights[layer][..., -1] == 0).all()
    assert (wide.biases[layer - 1][..., -1] == bias).all()
    assert torch.equal(wide.weights[layer - 1][..., :-1, :], net.weights[layer - 1])
    assert torch.equal(wide.weights[layer][..., :-1], net.weights[layer])


@few
@given(st.data(), nets(all_biases=True, widest=4), st.floats(-3, 3))
def test_theorem_4_1_criticality_of_null_embeddings(data, net, bias):
    layer = data.draw(st.integers(1, net.depth - 1))
    x, _ = samples(net, net.n_parameters + 5)
    y = plant(net, x, torch.Generator().manual_seed(1))
    before = l1(net, x, y)
    assert before < 1e-11
    # The new output weights' gradient is sigma(b) times that of the biases, |sigma| <= 3 here.
    assert l1(null_embed(net, layer, bias), x, y) < 1e-11


def test_a_copy_that_does_not_write_and_an_inactive_neuron_are_critical_too():
    """A11 as corrected: both zeros are needed for all sigma and data, unless the new neuron is a
    copy (alpha = 0) or inactive."""
    g = torch.Generator().manual_seed(3)
    net = init((2, 3, 1), "relu", generator=g)
    x = torch.randn(40, 2, generator=g, dtype=torch.float64)
    y = plant(net, x, g)
    copy = split(net, 1, 0, 0.0)
    assert copy.weights[0][3].abs().max() > 0.1 and float(copy.weights[1][:, 3].abs()) == 0
    assert l1(copy, x, y) < 1e-13
    zero, writes = torch.zeros(2).double(), torch.full((1,), 1.3).double()
    assert l1(append(net, 1, zero, -0.7, writes), x, y) < 1e-13
    # With b = 0.7 it is active: the output bias undoes its constant, but the slope is there.
    active = append(net, 1, zero, 0.7, writes)
    fixed = MLP(active.weights, (active.biases[0], net.biases[1] - 0.7 * 1.3), "relu")
    torch.testing.assert_close(forward(fixed, x), forward(net, x))
    assert l1(fixed, x, y) > 1e-3


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "elu"])
def test_both_zeros_are_needed(name):
    """A11: critical if the input and output weights are zero; with only one of them zero a neuron
    that is neither a copy nor inactive is not."""
    g = torch.Generator().manual_seed(3)
    net = init((2, 3, 2, 1), name, generator=g)
    x = torch.randn(40, 2, generator=g, dtype=torch.float64)
    y = plant(net, x, g)
    incoming, outgoing = torch.ones(3).double(), torch.ones(1).double()
    zero_in, zero_out = torch.zeros_like(incoming), torch.zeros_like(outgoing)
    assert l1(append(net, 2, zero_in, 0.7, zero_out), x, y) < 1e-12
    only_out_zero = append(net, 2, incoming, 0.7, zero_out)
    torch.testing.assert_close(
        forward(only_out_zero, x), forward(net, x)
    )  # same function, and yet:
    assert (
        l1(only_out_zero, x, y) > 1e-8
    )  # small, as the neuron is nearly linear in its inputs, but no rounding
    only_in_zero = append(net, 2, zero_in, 0.7, outgoing)
    # A constant is added to the output: compensated in the bias, the function is the same, and yet:
    shift = net.activation.value(torch.tensor(0.7).double()) * outgoing
    fixed = MLP(only_in_zero.weights, (*only_in_zero.biases[:-1], net.biases[-1] - shift), name)
    torch.testing.assert_close(forward(fixed, x), forward(net, x))
    assert l1(fixed, x, y) > 1e-8


@pytest.mark.parametrize(
    ("name", "bias", "critical"), [("tanh", 0.0, True), ("tanh", 0.5, False), ("relu", -1.0, True)]
)
def test_without_output_bias_the_constant_has_to_vanish(name, bias, critical):
    """The theorem assumes biases: without one above, the new weight's gradient is sigma(b)
    E[error], not 0."""
    g = torch.Generator().manual_seed(0)
    net = init((1, 2, 1), name, output_bias=False, generator=g)
    x = torch.randn(30, 1, generator=g, dtype=torch.float64)
    y = plant(net, x, g)
    zero = torch.zeros(1).double()
    norm = l1(append(net, 1, zero, bias, zero), x, y)
    if critical:
        assert norm < 1e-12
        assert null_embed(net, 1, bias).widths == (1, 3, 1)
    else:
        assert norm > 1e-6
        with pytest.raises(
            ValueError, match=r"layer 2 of .* has no biases and sigma\(bias\) = 0.46"
        ):
            null_embed(net, 1, bias)


def test_sigmoid_without_output_bias_never_has_null_neurons():
    with pytest.raises(
        ValueError, match=r"sigma\(bias\) = 0.5: a null neuron keeps criticality only"
    ):
        null_embed(init((1, 2, 1), "sigmoid", output_bias=False, generator=0), 1, 0.0)


def test_append_against_loops_and_batches():
    net = init((2, 3, 2), batch=(4,), generator=0)
    g = torch.Generator().manual_seed(0)
    into, out = torch.randn(2, generator=g).double(), torch.randn(4, 2, generator=g).double()
    wide = append(net, 1, into, torch.arange(4).double(), out)
    for i in range(4):
        (w1, w2), (b1, b2) = arrays(wide[i])
        (v1, v2), (c1, c2) = arrays(net[i])
        np.testing.assert_array_equal(w1, [*v1.tolist(), into.tolist()])
        np.testing.assert_array_equal(
            w2, [[*row, new] for row, new in zip(v2.tolist(), out[i].tolist(), strict=True)]
        )
        np.testing.assert_array_equal(b1, [*c1, i])
        np.testing.assert_array_equal(b2, c2)


def test_many_biases_for_one_net():
    several = torch.tensor([0.0, 1.0, -2.0], dtype=torch.float64)
    wide = null_embed(init((1, 2, 1), generator=0), 1, several)
    assert wide.batch == (3,)
    assert torch.equal(wide.biases[0][:, -1], several)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda n: null_embed(n, 2), ValueError, r"layer 2 outside 1..1"),
        (lambda n: null_embed(n, 1, float("nan")), ValueError, r"bias is nan: expected finite"),
        (lambda n: null_embed(n, 1, "0"), TypeError, r"bias is '0': expected a number"),
        (
            lambda n: null_embed(init((1, 2, 1), bias=False, generator=0), 1, 0.5),
            ValueError,
            r"layer 2 of .* has no biases",
        ),
        (
            lambda n: append(
                init((1, 2, 1), bias=False, generator=0),
                1,
                torch.zeros(1).double(),
                0.5,
                torch.zeros(1).double(),
            ),
            ValueError,
            r"bias is 0.5, and layer 1 of .* has no biases: expected 0",
        ),
        (
            lambda n: append(n, 1, torch.zeros(3).double(), 0.5, torch.zeros(1).double()),
            ValueError,
            r"incoming has 3 weights: expected 1",
        ),
        (
            lambda n: append(n, 1, torch.zeros(1).double(), 0.5, torch.zeros(2).double()),
            ValueError,
            r"outgoing has 2 weights: expected 1",
        ),
    ],
)
def test_impossible_requests(call, error, message):
    with pytest.raises(error, match=message):
        call(init((1, 2, 1), generator=0))
