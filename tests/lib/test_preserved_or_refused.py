"""Operators on fully connected nets of every drawn shape keep what they promise, or refuse in
words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from lib.depth import lift, unlift
from lib.merge import merge_layers, merge_neurons, reduce
from lib.nets import MLP, features, forward, init
from lib.nets.activations import elu, leaky_relu
from lib.width import embed, embedding, null_embed, random_embedding, split, split_into


def drawn(count: int) -> settings:
    """So many draws, 1,000 in all; nothing is shrunk, since drawing again says as much."""
    phases = (Phase.explicit, Phase.generate)
    return settings(max_examples=count, deadline=None, derandomize=True, phases=phases)


ACTIVATIONS = ("tanh", "sigmoid", "relu", "identity", leaky_relu(0.2), elu(), elu(0.5))
shares = st.floats(-30, 30) | st.sampled_from([0.0, 1.0, 1e-300, 1e5, -1e9, 1e16, 1e300])


@dataclass(frozen=True)
class Case:
    """A net, inputs, a hidden layer and a neuron of it, and a seed."""

    net: MLP
    x: Tensor
    layer: int
    neuron: int
    seed: int


@st.composite
def cases(draw: Callable, activations: Sequence[object] = ACTIVATIONS) -> Case:
    widths = draw(st.lists(st.integers(1, 4), min_size=3, max_size=5))
    bias = draw(st.booleans())
    seed = draw(st.integers(0, 2**20))
    dtype = draw(st.sampled_from([torch.float64, torch.float32]))
    source = torch.Generator().manual_seed(seed)
    net = init(
        widths,
        draw(st.sampled_from(activations)),
        bias=bias,
        output_bias=bias and draw(st.booleans()),
        generator=source,
        dtype=dtype,
    )
    scale = draw(st.sampled_from([1e-6, 1.0, 1e6]))
    x = scale * torch.randn(draw(st.integers(1, 9)), widths[0], generator=source, dtype=dtype)
    layer = draw(st.integers(1, len(widths) - 2))
    return Case(net, x, layer, draw(st.integers(0, widths[layer] - 1)), seed)


def attempt(make: Callable[[], MLP]) -> tuple[MLP | None, str]:
    """The net, or the words of the refusal."""
    try:
        return make(), ""
    except (TypeError, ValueError) as error:
        return None, str(error)


def check_outputs(case: Case, after: MLP) -> None:
    """Equal outputs up to half of the digits, of the size of the summands of every layer."""
    size = sum(float(f.abs().max()) for f in features(case.net, case.x)) + 1e-30
    norms = [float(torch.linalg.matrix_norm(w, 2)) for w in case.net.weights]
    slack = 100 * torch.finfo(case.net.dtype).eps ** 0.5 * size * max(1.0, *norms) ** len(norms)
    assert after.widths[0] == case.net.widths[0] and after.widths[-1] == case.net.widths[-1]
    assert float((forward(after, case.x) - forward(case.net, case.x)).abs().max()) <= slack


@drawn(300)
@given(cases(), shares, st.integers(1, 4))
def test_a_split_net_is_the_same_function(case, alpha, copies):
    shared = [alpha, *[(1 - alpha) / copies] * copies]
    for make in (
        lambda: split(case.net, case.layer, case.neuron, alpha),
        lambda: split_into(case.net, case.layer, case.neuron, shared),
    ):
        wide, words = attempt(make)
        if wide is None:  # only where rounding breaks the promise
            assert abs(alpha) > 1e3 and "expected" in words
        else:
            check_outputs(case, wide)


@drawn(150)
@given(cases(), shares, st.floats(-3, 3))
def test_embedded_nets_are_the_same_function(case, alpha, bias):
    steps = [(case.layer, case.neuron, alpha), (case.layer, None, bias)]
    source = torch.Generator().manual_seed(case.seed)
    widths = [m + (0 < at < case.net.depth) for at, m in enumerate(case.net.widths)]
    for make in (
        lambda: embed(case.net, steps),
        lambda: embedding(case.net, steps)(case.net),
        lambda: null_embed(case.net, case.layer, bias),
        lambda: random_embedding(case.net, widths, source)(case.net),
    ):
        wide, words = attempt(make)
        if wide is None:
            assert "expected" in words or "use append" in words
        else:
            check_outputs(case, wide)


@drawn(250)
@given(cases(ACTIVATIONS[2:]), st.integers(-1, 3), st.floats(1e-3, 1e3))
def test_a_lifted_net_has_the_same_outputs_and_its_inverse_gives_the_net_back(case, more, margin):
    position = case.layer - 1
    width = min(case.net.widths[position : position + 2]) + more
    net, x = case.net, case.x
    deep, words = attempt(lambda: lift(net, x, position, width, margin=margin, generator=case.seed))
    if deep is None:
        assert more < 0 or net.biases[position] is None or "rounding" in words
        return
    check_outputs(case, deep)
    check_outputs(case, unlift(deep, case.x, position + 1))
    merged = merge_layers(deep, x, layers=[position + 1], fit="neuron")
    assert [m.exact for m in merged.merged] == [True]
    check_outputs(case, merged.net)


@drawn(250)
@given(cases(), st.floats(-3, 3), st.integers(-20, 20))
def test_merging_equal_neurons_undoes_a_split_at_every_scale(case, alpha, exponent):
    assume(abs(alpha) > 1e-3 and abs(1 - alpha) > 1e-3)
    net, homogeneous = case.net, case.net.activation.degree == 1
    wide = split(net, case.layer, case.neuron, alpha)
    if homogeneous and exponent:  # the same function, its neurons at other scales
        scale, at = 10.0**exponent, case.layer
        weights, biases = list(wide.weights), list(wide.biases)
        weights[at - 1], weights[at] = weights[at - 1] * scale, weights[at] / scale
        inner = biases[at - 1]
        biases[at - 1] = None if inner is None else inner * scale
        wide = MLP(weights, biases, net.activation)
    merged = merge_neurons(wide, 1.0, x=case.x)
    assert merged.net.widths[case.layer] <= net.widths[case.layer]
    check_outputs(case, merged.net)


@drawn(50)
@given(cases(), st.floats(0, 1))
def test_a_reduced_net_keeps_the_budget(case, budget):
    y = forward(case.net, case.x).tanh()
    wide = split(case.net, case.layer, case.neuron, 0.3)
    found = reduce(wide, case.x, y, budget=budget, cosines=(0.9, 1.0), tolerances=(0.1,))
    start, end = found.steps[0].risk, ((forward(found.net, case.x) - y) ** 2).mean()
    assert float(end) <= start + budget + 1e-4 * abs(start)
    assert found.net.n_parameters <= wide.n_parameters
