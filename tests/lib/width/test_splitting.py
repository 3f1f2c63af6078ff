"""Splitting keeps outputs, representations and critical points (Zhang et al. 2021, Lemma 1, Prop.
1, Thm 1)."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mlp_oracle import alphas, arrays, loop_backward, loop_features, nets, neurons, samples

from lib.critical import plant
from lib.nets import MLP, cross_entropy, flatten, forward, gradient, init, stack
from lib.width import embed, split, split_into

few = settings(max_examples=40, deadline=None, derandomize=True)


def rounding(net: MLP, alpha: float = 0.0) -> float:
    """Tolerance on outputs: some hundred roundings, of summands that grow with |alpha| and the
    weights."""
    largest = max(float(w.abs().max()) for w in net.weights)
    return 1e-14 * (1 + abs(alpha)) * (1 + largest) ** net.depth * math.prod(net.widths)


@few
@given(st.data(), nets(), alphas)
def test_definition_5_against_loops(data, net, alpha):
    layer, s = data.draw(neurons(net))
    weights, biases = arrays(net)
    into, out, b = weights[layer - 1], weights[layer], biases[layer - 1]
    weights[layer - 1] = np.array([*into.tolist(), into[s].tolist()])
    biases[layer - 1] = np.array([*b.tolist(), b[s]])
    rows = []
    for row in out.tolist():
        rows.append([*row[:s], (1 - alpha) * row[s], *row[s + 1 :], alpha * row[s]])
    weights[layer] = np.array(rows)
    found = arrays(split(net, layer, s, alpha))
    for expected, got in zip((*weights, *biases), (*found[0], *found[1]), strict=True):
        np.testing.assert_array_equal(got, expected)  # the same products: no rounding between them


@few
@given(st.data(), nets(), alphas)
def test_proposition_1_output_preserved_for_every_input(data, net, alpha):
    layer, s = data.draw(neurons(net))
    x = samples(net, 5)[0] * torch.tensor([0.01, 1.0, 1.0, 10.0, 100.0]).unsqueeze(-1).double()
    wide = split(net, layer, s, alpha)
    assert wide.widths == tuple(m + (at == layer) for at, m in enumerate(net.widths))
    size = 1 + float(x.abs().max())
    torch.testing.assert_close(
        forward(wide, x), forward(net, x), rtol=1e-12, atol=size * rounding(net, alpha)
    )


@few
@given(st.data(), nets(depths=(2, 3), widest=4), alphas)
def test_lemma_1_features_and_errors(data, net, alpha):
    layer, s = data.draw(neurons(net))
    (sample,), (error,) = (t.tolist() for t in samples(net, 1))
    name = net.activation.name
    f, e = loop_backward(*arrays(net), name, sample, error)
    f_wide, e_wide = loop_backward(*arrays(split(net, layer, s, alpha)), name, sample, error)
    tolerance = 10 * rounding(net, alpha)
    for at in range(net.depth + 1):
        expected = f[at] + [f[at][s]] if at == layer else f[at]
        assert f_wide[at] == pytest.approx(expected, abs=tolerance, rel=1e-12)
        if at:
            z = (
                e[at]
                if at != layer
                else [*e[at][:s], (1 - alpha) * e[at][s], *e[at][s + 1 :], alpha * e[at][s]]
            )
            assert e_wide[at] == pytest.approx(z, abs=tolerance, rel=1e-12)


@few
@given(st.data(), nets(), alphas)
def test_theorem_1_gradient_transport_at_any_parameters(data, net, alpha):
    layer, s = data.draw(neurons(net))
    x, y = samples(net, 7)
    before, after = gradient(net, x, y), gradient(split(net, layer, s, alpha), x, y)
    tolerance = {"rtol": 1e-9, "atol": 100 * rounding(net, alpha)}
    for at in range(1, net.depth + 1):
        w, wide = before.weights[at - 1], after.weights[at - 1]
        b, wide_b = before.biases[at - 1], after.biases[at - 1]
        if at == layer:
            factor = torch.ones(len(w), 1, dtype=torch.float64)
            factor[s] = 1 - alpha
            w = torch.cat([factor * w, alpha * w[s : s + 1]])
            b = None if b is None else torch.cat([factor[:, 0] * b, alpha * b[s : s + 1]])
        if at == layer + 1:
            w = torch.cat(
                [w, w[:, s : s + 1]], dim=1
            )  # the new column equals column s, it is not zero
        torch.testing.assert_close(wide, w, **tolerance)
        assert (wide_b is None) == (b is None)
        if b is not None:
            torch.testing.assert_close(wide_b, b, **tolerance)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.data(), nets(widest=4), alphas)
def test_theorem_1_criticality_preserving(data, net, alpha):
    layer, s = data.draw(neurons(net))
    x, _ = samples(net, net.n_parameters + 5)
    y = plant(net, x, torch.Generator().manual_seed(1))
    before = float(flatten(gradient(net, x, y)).abs().sum())
    after = float(flatten(gradient(split(net, layer, s, alpha), x, y)).abs().sum())
    # Both are rounding; the bound on the second scales with the coefficients.
    assert before < 1e-11
    assert after < 1e-11 * (1 + abs(alpha))


@pytest.mark.parametrize("alpha", [-3.0, 0.0, 0.4, 1.0, 2.5])
def test_theorem_1_for_cross_entropy(alpha):
    # Logits that do not depend on x fit class frequencies 1/3 exactly: a critical point with
    # non-zero residuals.
    g = torch.Generator().manual_seed(0)
    net = init((2, 3, 3), "sigmoid", generator=g)
    net = MLP(
        (net.weights[0], torch.zeros(3, 3).double()),
        (net.biases[0], torch.zeros(3).double()),
        net.activation,
    )
    x = torch.randn(5, 2, generator=g, dtype=torch.float64).repeat(3, 1)
    y = torch.arange(3).repeat_interleave(5)
    assert float(flatten(gradient(net, x, y, cross_entropy)).abs().sum()) < 1e-15
    wide = split(net, 1, 2, alpha)
    assert float(flatten(gradient(wide, x, y, cross_entropy)).abs().sum()) < 1e-15 * (
        1 + abs(alpha)
    )


@few
@given(st.data(), nets(batches=((3,), (2, 2))), alphas)
def test_batches_are_nets_side_by_side(data, net, alpha):
    layer, s = data.draw(neurons(net))
    together = split(net, layer, s, alpha)
    assert together.batch == net.batch
    for index in np.ndindex(*net.batch):
        assert torch.equal(flatten(together[index]), flatten(split(net[index], layer, s, alpha)))


def test_one_alpha_a_net_and_many_alphas_for_one_net():
    net, several = (
        init((2, 3, 2), generator=0),
        torch.tensor([-1.0, 0.0, 0.5, 2.0], dtype=torch.float64),
    )
    wide = split(net, 1, 1, several)
    assert wide.batch == (4,)
    for i, alpha in enumerate(several.tolist()):
        assert torch.equal(flatten(wide[i]), flatten(split(net, 1, 1, alpha)))
    nets_ = stack([net] * 4)
    assert torch.equal(flatten(split(nets_, 1, 1, several)), flatten(wide))
    assert split(nets_, 1, 1, several.reshape(4, 1)).batch == (4, 4)


@few
@given(st.data(), nets(), st.lists(st.floats(-2, 2), min_size=0, max_size=4))
def test_split_into_is_a_composition_of_splittings(data, net, free):
    layer, s = data.draw(neurons(net))
    shares = [1 - sum(free), *free]
    wide = split_into(net, layer, s, shares)
    assert wide.widths[layer] == net.widths[layer] + len(free)
    steps, left = [], 1.0
    for share in free:
        assume(abs(left) >= 1e-3)  # the composition divides by what is left of the neuron
        steps.append((layer, s, share / left))
        left -= share
    torch.testing.assert_close(flatten(wide), flatten(embed(net, steps)), rtol=1e-9, atol=1e-12)


def test_equal_split_of_figure_3():
    net = init((1, 2, 1), output_bias=False, generator=0)
    wide = split_into(net, 1, 0, [1 / 3] * 3)
    assert wide.widths == (1, 4, 1)
    w = float(net.weights[1][0, 0])
    assert wide.weights[1][0, [0, 2, 3]].tolist() == pytest.approx([w / 3] * 3, rel=1e-15)
    assert wide.weights[1][0, 1] == net.weights[1][0, 1]
    batch = split_into(net, 1, 0, torch.tensor([[0.5, 0.5], [2.0, -1.0]], dtype=torch.float64))
    assert batch.batch == (2,)


def test_a_split_keeps_the_loops_output_for_one_sample():
    net = init((2, 3, 3, 2), "elu", generator=0)
    sample = [0.3, -2.0]
    before = loop_features(*arrays(net), "elu", sample)[-1]
    assert loop_features(*arrays(split(net, 2, 0, -7.0)), "elu", sample)[-1] == pytest.approx(
        before, abs=1e-13
    )


def test_operands_are_left_alone_and_other_dtypes_work():
    net = init((1, 2, 1), generator=0).to(torch.float32)
    before = flatten(net).clone()
    wide = split(net, 1, 0, 0.5)
    assert wide.dtype == torch.float32
    assert torch.equal(flatten(net), before)
    wide.weights[0].zero_()
    assert torch.equal(flatten(net), before)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda n: split(n, 3, 0, 0.5), ValueError, r"layer 3 outside 1..2"),
        (lambda n: split(n, 0, 0, 0.5), ValueError, r"layer 0 outside 1..2"),
        (lambda n: split(n, 1.0, 0, 0.5), TypeError, r"layer is 1.0: expected an int"),
        (lambda n: split(n, True, 0, 0.5), TypeError, r"layer is True: expected an int"),
        (lambda n: split(n, 1, 2, 0.5), ValueError, r"neuron 2 outside 0..1 of layer 1"),
        (lambda n: split(n, 1, -1, 0.5), ValueError, r"neuron -1 outside 0..1"),
        (lambda n: split(n, 1, "0", 0.5), TypeError, r"neuron is '0': expected an int"),
        (lambda n: split(n, 1, 0, math.nan), ValueError, r"alpha is nan: expected finite"),
        (lambda n: split(n, 1, 0, math.inf), ValueError, r"alpha is inf: expected finite"),
        (
            lambda n: split(n, 1, 0, torch.tensor([0.0, math.inf]).double()),
            ValueError,
            r"non-finite entries",
        ),
        (lambda n: split(n, 1, 0, None), TypeError, r"alpha is None: expected a number"),
        (lambda n: split(n, 1, 0, True), TypeError, r"alpha is True: expected a number"),
        (
            lambda n: split(n, 1, 0, torch.tensor(0.5)),
            TypeError,
            r"alpha is torch.float32: expected torch.float64",
        ),
        (
            lambda n: split(stack([n] * 2), 1, 0, torch.zeros(3).double()),
            ValueError,
            r"leading shape \(3,\): it does not broadcast with batch \(2,\)",
        ),
        (lambda n: split(init((2, 1), generator=0), 1, 0, 0.5), ValueError, r"has no hidden layer"),
        (
            lambda n: split_into(n, 1, 0, [0.5, 0.4]),
            ValueError,
            r"shares add up to 0.90.*: expected 1",
        ),
        (lambda n: split_into(n, 1, 0, []), ValueError, r"shares are empty"),
        (
            lambda n: split_into(n, 1, 0, torch.ones(()).double()),
            ValueError,
            r"expected \(\*batch\) \+ 1 dimensions",
        ),
    ],
)
def test_impossible_requests(call, error, message):
    with pytest.raises(error, match=message):
        call(init((1, 2, 3, 1), generator=0))
