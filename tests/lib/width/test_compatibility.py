"""General compatible embeddings: their conditions, named violations, and what they keep (Zhang et
al. 2022, Sec. 5)."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mlp_oracle import SIGMA, alphas, arrays, nets, samples

from lib.critical import plant
from lib.linear import affine_map
from lib.nets import MLP, cross_entropy, features, flatten, forward, gradient, init
from lib.width import embed, embedding, random_embedding
from lib.width.compatibility import compatible
from lib.width.constructions import three_fold, two_fold_null
from lib.width.embeddings import NULL

few = settings(max_examples=25, deadline=None, derandomize=True)


def doubles(rows):
    return torch.tensor(rows, dtype=torch.float64)


def size_of(found) -> float:
    """By how much rounding may grow: products of coefficients through the layers."""
    return math.prod(1 + float(a.abs().sum(-1).max()) for a in found.coefficients)


@st.composite
def random_cases(draw, depths=(2, 4), widest=3, all_biases=True):
    net = draw(nets(depths=depths, widest=widest, all_biases=all_biases))
    inner = [m + draw(st.integers(0, 3)) for m in net.widths[1:-1]]
    seed = draw(st.integers(0, 2**31))
    null = draw(st.sampled_from([0.0, 0.3, 1.0]))
    widths = (net.widths[0], *inner, net.widths[-1])
    return net, random_embedding(
        net, widths, torch.Generator().manual_seed(seed), null=null, scale=0.7
    )


@st.composite
def step_lists(draw, net):
    """Up to four one-step embeddings that fit the net, splittings of earlier copies and null
    neurons included."""
    widths, steps = list(net.widths), []
    for _ in range(draw(st.integers(1, 4))):
        layer = draw(st.integers(1, net.depth - 1))
        split_one = net.biases[layer] is None or draw(st.booleans())
        neuron = draw(st.integers(0, widths[layer] - 1)) if split_one else None
        value = draw(alphas)
        if neuron is None and net.biases[layer - 1] is None:
            value = 0.0
        steps.append((layer, neuron, value))
        widths[layer] += 1
    return steps


@few
@given(random_cases())
def test_definition_5_2_against_loops(case):
    net, found = case
    index = [i.tolist() for i in found.index]
    (weights, biases), wide = arrays(net), found(net)
    for layer in range(1, net.depth + 1):
        a, shift = found.coefficients[layer - 1].numpy(), found.shifts[layer - 1].numpy()
        got_w, got_b = (t[layer - 1] for t in arrays(wide))
        for i, source in enumerate(index[layer]):
            for j, below in enumerate(index[layer - 1]):
                entry = 1.0 if NULL in (source, below) else weights[layer - 1][source, below]
                assert got_w[i, j] == a[i, j] * entry
            assert got_b[i] == shift[i] + (0.0 if source == NULL else biases[layer - 1][source])


@few
@given(random_cases())
def test_conditions_hold_for_random_members_in_loops(case):
    """FORWARD, BACKWARD and NULL, summed up in loops from the definition, with beta and b_* as
    found."""
    net, found = case
    sigma = SIGMA[net.activation.name][0]
    tolerance = 1e-12 * size_of(found)
    for layer in range(1, net.depth + 1):
        a = found.coefficients[layer - 1].tolist()
        rows, columns = found.index[layer].tolist(), found.index[layer - 1].tolist()
        beta, below = found.beta[layer].tolist(), found.beta[layer - 1].tolist()
        null, shift = found.null_bias[layer - 1].tolist(), found.shifts[layer - 1].tolist()
        for i, source in enumerate(rows):
            for s in range(net.widths[layer - 1]):
                total = sum(a[i][j] for j, c in enumerate(columns) if c == s)
                assert total == pytest.approx(float(source != NULL), abs=tolerance)
            fed = (
                sum(a[i][j] * sigma(null[j]) for j, c in enumerate(columns) if c == NULL) + shift[i]
            )
            expected = found.null_bias[layer].tolist()[i] if source == NULL else 0.0
            assert fed == pytest.approx(expected, abs=tolerance)
        for j, source in enumerate(columns):
            for k in range(net.widths[layer]):
                total = sum(beta[i] * a[i][j] for i, r in enumerate(rows) if r == k)
                assert total == pytest.approx(0.0 if source == NULL else below[j], abs=tolerance)
    for layer in range(1, net.depth):
        for s in range(net.widths[layer]):
            copies = found.index[layer] == s
            assert float(found.beta[layer][copies].sum()) == pytest.approx(1, abs=tolerance)


@few
@given(random_cases())
def test_theorem_5_1_features_outputs_and_representations(case):
    net, found = case
    x, _ = samples(net, 5)
    narrow, wide = features(net, x), features(found(net), x)
    tolerance = 1e-11 * size_of(found)
    for layer in range(1, net.depth):
        for i, source in enumerate(found.index[layer].tolist()):
            constant = net.activation.value(found.null_bias[layer][i]).expand(5)
            expected = constant if source == NULL else narrow[layer][:, source]
            torch.testing.assert_close(wide[layer][:, i], expected, rtol=1e-10, atol=tolerance)
    torch.testing.assert_close(wide[-1], narrow[-1], rtol=1e-10, atol=tolerance)


@few
@given(random_cases())
def test_theorem_5_1_gradient_transport(case):
    net, found = case
    x, y = samples(net, 6)
    transported, got = found.transport(gradient(net, x, y)), gradient(found(net), x, y)
    torch.testing.assert_close(
        flatten(got), flatten(transported), rtol=1e-9, atol=1e-10 * size_of(found)
    )


@settings(max_examples=15, deadline=None, derandomize=True)
@given(random_cases(widest=2))
def test_theorem_5_1_criticality_preserving(case):
    net, found = case
    x, _ = samples(net, net.n_parameters + 4)
    y = plant(net, x, torch.Generator().manual_seed(0))
    assert float(flatten(gradient(net, x, y)).abs().sum()) < 1e-11
    assert float(flatten(gradient(found(net), x, y)).abs().sum()) < 1e-11 * size_of(found)


def test_theorem_5_1_for_cross_entropy_and_any_data():
    net = init((2, 2, 3, 3), "tanh", generator=0)
    found = random_embedding(net, (2, 4, 5, 3), torch.Generator().manual_seed(1))
    x, y = (
        torch.randn(9, 2, generator=torch.Generator().manual_seed(2)).double(),
        torch.arange(9) % 3,
    )
    a, b = (
        gradient(found(net), x, y, cross_entropy),
        found.transport(gradient(net, x, y, cross_entropy)),
    )
    torch.testing.assert_close(flatten(a), flatten(b), rtol=1e-10, atol=1e-13)


@few
@given(st.data(), nets(widest=4))
def test_one_step_embeddings_are_compatible(data, net):
    steps = data.draw(step_lists(net))
    wide, found = embed(net, steps), embedding(net, steps)
    torch.testing.assert_close(flatten(found(net)), flatten(wide), rtol=1e-13, atol=1e-13)
    x, y = samples(net, 6)
    size = math.prod(1 + abs(value) for *_, value in steps)
    torch.testing.assert_close(
        flatten(gradient(wide, x, y)),
        flatten(found.transport(gradient(net, x, y))),
        rtol=1e-9,
        atol=1e-10 * size,
    )


def test_embeddings_know_beta_and_their_shapes():
    found = embedding(init((2, 3, 2, 1), generator=0), [(1, 1, 0.25), (2, 0, -1.0), (2, None, 0.4)])
    assert (found.narrow, found.wide) == ((2, 3, 2, 1), (2, 4, 4, 1))
    assert found.beta[1].tolist() == [1, 0.75, 1, 0.25]
    assert found.beta[2].tolist() == [2, 1, -1, 0]
    assert found.null_bias[2].tolist() == [0, 0, 0, 0.4]
    assert repr(found) == "Embedding(2-3-2-1 into 2-4-4-1, tanh)"


def test_batched_alphas_and_batched_nets():
    several = doubles([0.3, -1.0, 2.0])
    net = init((2, 3, 1), batch=(3,), generator=0)
    found = embedding(net, [(1, 0, several), (1, None, 0.1)])
    wide = found(net)
    assert wide.batch == (3,)
    x, y = samples(net, 5)
    torch.testing.assert_close(
        flatten(wide), flatten(embed(net, [(1, 0, several), (1, None, 0.1)]))
    )
    a, b = gradient(wide, x, y), found.transport(gradient(net, x, y))
    torch.testing.assert_close(flatten(a), flatten(b), rtol=1e-11, atol=1e-13)
    linear = affine_map(found, net)
    assert linear.matrix.shape == (3, wide.n_parameters, net.n_parameters)
    torch.testing.assert_close(
        (linear.matrix @ flatten(net)[..., None])[..., 0] + linear.offset, flatten(wide)
    )


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "relu"])
@pytest.mark.parametrize("widths", [(2, 3, 2), (1, 2, 3, 1), (2, 2, 2, 2, 1)])
def test_example_5_1_three_fold_global_splitting(name, widths):
    net = init(widths, name, generator=0)
    found = three_fold(net)
    assert found.wide == (widths[0], *(3 * m for m in widths[1:-1]), widths[-1])
    wide = found(net)
    for w, v in zip(wide.weights[1:-1], net.weights[1:-1], strict=True):
        assert torch.equal(w, torch.block_diag(v, v, v))
    assert torch.equal(wide.weights[0], net.weights[0].repeat(3, 1))
    last = net.weights[-1]
    assert torch.equal(wide.weights[-1], torch.cat([last, last, -last], 1))
    assert [b.tolist() for b in found.beta[1:-1]] == [
        [1] * m + [1] * m + [-1] * m for m in widths[1:-1]
    ]
    x, y = samples(net, 6)
    torch.testing.assert_close(forward(wide, x), forward(net, x))
    torch.testing.assert_close(
        flatten(gradient(wide, x, y)),
        flatten(found.transport(gradient(net, x, y))),
        rtol=1e-10,
        atol=1e-12,
    )


def test_example_5_2_two_fold_global_null():
    net = init((2, 3, 2, 1), "sigmoid", generator=0)
    given_biases = [doubles([0.1, -2.0, 3.0]), doubles([0.5, 0.0])]
    found = two_fold_null(net, given_biases)
    wide = found(net)
    for w, v in zip(wide.weights, net.weights, strict=True):
        rows, columns = v.shape
        assert torch.equal(w[:rows, :columns], v)
        assert int((w != 0).sum()) == v.numel()
    assert torch.equal(wide.biases[0], torch.cat([net.biases[0], given_biases[0]]))
    assert torch.equal(found.null_bias[2], doubles([0, 0, 0.5, 0.0]))
    x, y = samples(net, 8)
    assert torch.equal(
        flatten(found.transport(gradient(net, x, y))) != 0,
        flatten(gradient(wide, x, y)).abs() > 1e-15,
    )
    torch.testing.assert_close(
        flatten(gradient(wide, x, y)),
        flatten(found.transport(gradient(net, x, y))),
        rtol=1e-10,
        atol=1e-13,
    )


ONE = [[1.0]]


@pytest.mark.parametrize(
    ("index", "coefficients", "shifts", "message"),
    [
        (
            [[0, 0]],
            [[[1.0], [1.0]], [[0.4, 0.5]]],
            None,
            (
                r"FORWARD, layer 2, neuron 0: coefficients on copies of neuron 0 of layer 1 add up"
                r" to 0.9, expected 1"
            ),
        ),
        (
            [[0, 0]],
            [[[1.0], [2.0]], [[0.5, 0.5]]],
            None,
            (
                r"FORWARD, layer 1, neuron 1: coefficients on copies of neuron 0 of layer 0 add up"
                r" to 2, expected 1"
            ),
        ),
        (
            [[0, NULL]],
            [[[1.0], [0.5]], [[1.0, 0.0]]],
            None,
            r"FORWARD, layer 1, neuron 1: .* add up to 0.5, expected 0",
        ),
        (
            [[0, NULL]],
            [[[1.0], [0.0]], [[1.0, 0.3]]],
            [[0.0, 0.0], [0.0]],
            (
                r"BACKWARD, layer 2, null neuron 1 of layer 1 to the copies of neuron 0: .* add up"
                r" to 0.3, expected 0"
            ),
        ),
        (
            [[0]],
            [ONE, ONE],
            [[0.25], [0.0]],
            (
                r"NULL, layer 1, neuron 0: what null neurons of layer 0 feed it, with its shift, is"
                r" 0.25, expected 0"
            ),
        ),
    ],
)
def test_every_violation_is_named(index, coefficients, shifts, message):
    net = init((1, 1, 1), generator=0)
    shifts = None if shifts is None else [doubles(s) for s in shifts]
    with pytest.raises(ValueError, match=message):
        compatible(net, index, [doubles(c) for c in coefficients], shifts)


def test_backward_needs_one_beta_for_all_neurons_above():
    """Two outputs that take different shares of a copy: FORWARD holds, the output is kept,
    criticality is not."""
    net = init((1, 1, 2), generator=0)
    shares = doubles([[0.5, 0.5], [0.2, 0.8]])
    with pytest.raises(
        ValueError,
        match=r"BACKWARD, layer 2, from neuron 0|BACKWARD, layer 2, neuron 0 of layer 1 to",
    ):
        compatible(net, [[0, 0]], [doubles([[1.0], [1.0]]), shares])
    x, _ = samples(net, 12)
    y = plant(net, x, torch.Generator().manual_seed(0))
    wide = MLP(
        (net.weights[0].repeat(2, 1), shares * net.weights[1]),
        (net.biases[0].repeat(2), net.biases[1]),
    )
    torch.testing.assert_close(forward(wide, x), forward(net, x))
    assert float(flatten(gradient(net, x, y)).abs().sum()) < 1e-13
    # Not critical, because sum_k W_k E[e_k sigma' x] = 0 does not make every summand zero
    assert float(flatten(gradient(wide, x, y)).abs().sum()) > 1e-4


def test_null_neurons_that_feed_others_need_their_shifts():
    net = init((1, 1, 1, 1), "sigmoid", generator=0)
    alpha = [doubles([[1], [0]]), doubles([[1, 0.5], [0, 2.0]]), doubles([[1, 0]])]
    b, s = 0.3, 1 / (1 + math.exp(-0.3))
    index = [[0, NULL], [0, NULL]]
    with pytest.raises(
        ValueError, match=r"NULL, layer 2, neuron 0.* is 0.287.*; BACKWARD, layer 2, null neuron 1"
    ):
        compatible(net, index, alpha, [doubles([0, b]), doubles([0, 0]), doubles([0])])
    alpha[1] = doubles([[1, 0.0], [0, 2.0]])
    found = compatible(net, index, alpha, [doubles([0, b]), doubles([0, 0.1]), doubles([0])])
    assert found.null_bias[2][1] == pytest.approx(0.1 + 2 * s)


def test_many_violations_are_counted():
    net = init((3, 2, 3), generator=0)
    with pytest.raises(ValueError, match=r"not compatible: FORWARD.*; and \d+ more$") as caught:
        compatible(net, [[0, 1, 0]], [torch.zeros(3, 3).double(), torch.zeros(3, 3).double()])
    assert str(caught.value).count("FORWARD") == 4


def test_layers_without_biases_allow_null_neurons_only_where_they_vanish():
    net = init((1, 1, 1), "sigmoid", output_bias=False, generator=0)
    alpha = [doubles([[1], [0]]), doubles([[1, 0]])]
    with pytest.raises(
        ValueError,
        match=r"BIAS, layer 2 has no biases: sigma\(b_\*\) of null neuron 1 of layer 1 is 0.5",
    ):
        compatible(net, [[0, NULL]], alpha)
    assert compatible(
        init((1, 1, 1), "tanh", bias=False, generator=0), [[0, NULL]], alpha
    ).wide == (1, 2, 1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda n: compatible(n, [], []), ValueError, r"got 0 index maps: expected 1"),
        (
            lambda n: compatible(n, [[0, 1, 5]], []),
            ValueError,
            r"index map of layer 1 holds \[5\]: expected 0..1 or NULL",
        ),
        (
            lambda n: compatible(n, [[0, 0]], []),
            ValueError,
            r"leaves out neurons \[1\]: expected a copy of every",
        ),
        (
            lambda n: compatible(n, [[0.0, 1.0]], []),
            ValueError,
            r"torch.float32: expected \(m',\), int64",
        ),
        (
            lambda n: compatible(n, [[0, 1]], []),
            ValueError,
            r"coefficients of 0 layers, shifts of 2: expected 2 each",
        ),
        (
            lambda n: compatible(
                n, [[0, 1]], [torch.ones(2, 1).double(), torch.ones(2, 1).double()]
            ),
            ValueError,
            r"coefficients of layer 2 have shape \(2, 1\): expected \(\*batch\) \+ \(1, 2\)",
        ),
        (
            lambda n: compatible(n, [[0, 1]], [torch.ones(2, 1), torch.ones(1, 2)]),
            TypeError,
            r"coefficients of layer 1 is torch.float32: expected torch.float64",
        ),
        (
            lambda n: compatible(
                n, [[0, 1]], [torch.full((2, 1), math.nan).double(), torch.ones(1, 2).double()]
            ),
            ValueError,
            r"coefficients of layer 1 is a tensor with non-finite entries",
        ),
        (
            lambda n: compatible(
                n, [[0, 1]], [torch.ones(2, 1).double(), torch.ones(1, 2).double()], tolerance="x"
            ),
            TypeError,
            r"tolerance is 'x': expected a number",
        ),
        (
            lambda n: compatible(
                init((1, 2, 1), bias=False, generator=0),
                [[0, 1]],
                [torch.ones(2, 1).double(), torch.ones(1, 2).double()],
                [doubles([0.5, 0.0]), doubles([0.0])],
            ),
            ValueError,
            r"layer 1 has no biases: expected shifts 0, got 0.5",
        ),
        (
            lambda n: three_fold(n)(init((1, 3, 1), generator=0)),
            ValueError,
            r"expected widths \(1, 2, 1\), tanh and biases",
        ),
        (
            lambda n: three_fold(n)(init((1, 2, 1), "relu", generator=0)),
            ValueError,
            r"expected widths",
        ),
        (
            lambda n: three_fold(n).transport(init((1, 2, 1), bias=False, generator=0)),
            ValueError,
            r"expected widths",
        ),
        (lambda n: three_fold(init((1, 1), generator=0)), ValueError, r"has no hidden layer"),
        (lambda n: two_fold_null(n, []), ValueError, r"got biases of 0 layers: expected 1"),
        (
            lambda n: two_fold_null(n, [doubles([1.0])]),
            ValueError,
            r"biases of layer 1 are 1: expected 2",
        ),
        (
            lambda n: embedding(n, [(1, 0, 0.5), (1, 3, 0.5)]),
            ValueError,
            r"step 2: neuron 3 outside 0..2",
        ),
        (lambda n: embedding(n, [(3, 0, 0.5)]), ValueError, r"step 1: layer 3 outside 1..1"),
        (lambda n: embedding(n, [(1, 0, math.inf)]), ValueError, r"step 1: alpha is inf"),
    ],
)
def test_impossible_requests(call, error, message):
    with pytest.raises(error, match=message):
        call(init((1, 2, 1), generator=0))


def test_the_three_copies_do_not_share_memory_with_the_net():
    net = init((1, 2, 1), generator=0)
    before = flatten(net).clone()
    wide = three_fold(net)(net)
    wide.weights[0].add_(1)
    np.testing.assert_array_equal(flatten(net), before)
