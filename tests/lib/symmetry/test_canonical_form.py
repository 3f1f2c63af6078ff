"""Canonical forms and orbit distances: what symmetry makes equal is equal, and nothing else."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.nets import MLP, flatten, forward, init
from lib.symmetry import canonical, orbit_distance

F64 = torch.float64


def scrambled(net: MLP, g: torch.Generator, *, signs: bool = True) -> MLP:
    """Permute the neurons of every hidden layer, and flip some: the same function, by
    construction."""
    weights, biases = list(net.weights), list(net.biases)
    for layer in range(net.depth - 1):
        order = torch.randperm(weights[layer].shape[-2], generator=g)
        sign = torch.ones(len(order), dtype=F64)
        if signs:
            sign = 2.0 * torch.randint(2, (len(order),), generator=g).double() - 1
        weights[layer] = (sign[:, None] * weights[layer])[order]
        biases[layer] = None if biases[layer] is None else (sign * biases[layer])[order]
        weights[layer + 1] = (weights[layer + 1] * sign)[..., order]
    return MLP(weights, biases, net.activation)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    widths=st.lists(st.integers(1, 5), min_size=2, max_size=5),
    sigma=st.sampled_from(["tanh", "sigmoid", "relu", "identity"]),
    bias=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_canonical_form_is_one_for_the_whole_orbit(widths, sigma, bias, seed):
    g = torch.Generator().manual_seed(seed)
    net = init(widths, sigma, bias=bias, output_bias=bias, generator=g)
    moved = scrambled(net, g, signs=sigma in ("tanh", "identity"))
    x = torch.randn(4, widths[0], generator=g, dtype=F64)
    # sums over neurons in another order
    torch.testing.assert_close(forward(moved, x), forward(net, x), rtol=0, atol=1e-12)
    form = canonical(net)
    assert torch.equal(flatten(canonical(moved)), flatten(form))
    assert torch.equal(flatten(canonical(form)), flatten(form))
    torch.testing.assert_close(forward(form, x), forward(net, x), rtol=0, atol=1e-12)


def test_canonical_form_breaks_ties_of_copied_neurons_by_their_output_weights():
    w = torch.tensor([[1.0], [1.0], [-1.0]], dtype=F64)
    nets = [
        MLP((w[list(p)], torch.tensor([[3.0, 1.0, -2.0]], dtype=F64)[:, list(p)]))
        for p in itertools.permutations(range(3))
    ]
    forms = {tuple(flatten(canonical(n)).tolist()) for n in nets}
    assert forms == {(1.0, 1.0, 1.0, 1.0, 2.0, 3.0)}


def test_canonical_form_of_silent_neurons_has_no_negative_zero():
    net = MLP((torch.tensor([[0.0], [-0.0]], dtype=F64), torch.tensor([[-2.0, 0.0]], dtype=F64)))
    form = canonical(net)
    assert form.weights[1].tolist() == [[0.0, 2.0]] and not bool(torch.signbit(flatten(form)).any())


def test_canonical_form_of_a_batch_is_that_of_each_net():
    nets = init((2, 4, 3, 1), batch=(3, 2), generator=0)
    assert torch.equal(flatten(canonical(nets)[2, 1]), flatten(canonical(nets[2, 1])))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    width=st.integers(1, 4),
    sigma=st.sampled_from(["tanh", "sigmoid"]),
    bias=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_orbit_distance_is_the_least_over_all_symmetries(width, sigma, bias, seed):
    g = torch.Generator().manual_seed(seed)
    a, b = (init((2, width, 2), sigma, bias=bias, output_bias=bias, generator=g) for _ in range(2))
    flips = [1.0, -1.0] if sigma == "tanh" else [1.0]
    brute = min(
        float((flatten(a) - flatten(_moved(b, list(order), torch.tensor(signs, dtype=F64)))).norm())
        for order in itertools.permutations(range(width))
        for signs in itertools.product(flips, repeat=width)
    )
    assert orbit_distance(a, b) == pytest.approx(brute, rel=1e-12)
    assert (
        orbit_distance(a, scrambled(a, g, signs=sigma == "tanh")) < 1e-12
    )  # zero, up to summation order
    assert orbit_distance(a, b, output_weights=False) <= orbit_distance(a, b)


def _moved(net, order, sign):
    b = net.biases[0]
    return MLP(
        ((sign[:, None] * net.weights[0])[order], (net.weights[1] * sign)[:, order]),
        (None if b is None else (sign * b)[order], net.biases[1]),
        net.activation,
    )


def test_orbit_distance_errors():
    two = init((1, 2, 1), generator=0)
    for bad in (init((1, 2, 2, 1), generator=0), init((1, 2, 1), batch=(3,), generator=0)):
        with pytest.raises(ValueError, match="one two-layer net"):
            orbit_distance(two, bad)
    for other in (
        init((1, 3, 1), generator=0),
        init((1, 2, 1), "sigmoid", generator=0),
        init((1, 2, 1), output_bias=False, generator=0),
    ):
        with pytest.raises(ValueError, match="one shape and activation"):
            orbit_distance(two, other)
