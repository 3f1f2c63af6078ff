"""Aligned weight distance: permuted nets are at distance zero, and the matching is the best of
all."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.nets import VGG, initialise
from lib.symmetry import aligned_distance
from lib.symmetry.alignment import match_rows


def tiny(seed=0, **fields):
    return initialise(
        VGG(**({"width": 1 / 16, "side": 32, "pools": 4, "hidden": 6} | fields)), generator=seed
    )


def permuted(net, orders):
    """Net with the outputs of layer l in order orders[l - 1], and the inputs of the next layer to
    match."""
    other = tiny()
    other.load_state_dict(net.state_dict())
    with torch.no_grad():
        for layer, order in enumerate(orders, start=1):
            following = other.joint(layer + 1)
            run = following.weight.shape[1] // len(order)
            inputs = (order[:, None] * run + torch.arange(run)).flatten()
            other.joint(layer).weight.copy_(other.joint(layer).weight[order])
            other.joint(layer).bias.copy_(other.joint(layer).bias[order])
            following.weight.copy_(following.weight[:, inputs])
    return other


def test_a_permuted_net_is_at_distance_zero_in_every_layer():
    net = tiny(1)
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(j.weight.shape[0], generator=generator) for j in net.joints[:-1]]
    other = permuted(net, orders)
    x = torch.randn(4, 3, 32, 32, generator=generator)
    torch.testing.assert_close(other.eval()(x), net.eval()(x), rtol=1e-4, atol=1e-6)  # float32
    got = aligned_distance(other, net, layers=15)  # through the flattening of 2 x 2 pixels too
    assert got.distance == (0.0,) * 15
    for found, order in zip(got.order, orders, strict=True):
        np.testing.assert_array_equal(found, order.numpy())


def test_the_default_is_the_authors_twelve_layers():
    got = aligned_distance(tiny(1), tiny(2))
    assert got.layers == tuple(range(1, 13))
    # independent weights of equal variance: 2, less what choosing the best of few channels gains
    assert all(0.5 < d < 2 for d in got.distance)
    assert got.distance[0] < got.distance[-1]  # 27 numbers a filter match better by chance than 288


def test_the_distance_by_hand():
    a, b = tiny(1), tiny(2)
    got = aligned_distance(a, b, layers=2)
    w1, w2 = (n.joint(1).weight.detach().double().numpy() for n in (a, b))
    permutations = list(itertools.permutations(range(4)))
    best = min(np.mean((w1 - w2[list(order)]) ** 2) for order in permutations)
    assert got.distance[0] == pytest.approx(
        best / ((np.mean(w1**2) + np.mean(w2**2)) / 2), rel=1e-12
    )
    v1, v2 = (n.joint(2).weight.detach().double().numpy() for n in (a, b))
    first = min(permutations, key=lambda order: np.mean((w1 - w2[list(order)]) ** 2))
    inputs = v2[:, list(first)]  # the channels of layer 2 in the order found for layer 1
    best = min(np.mean((v1 - inputs[list(order)]) ** 2) for order in permutations)
    assert got.distance[1] == pytest.approx(
        best / ((np.mean(v1**2) + np.mean(v2**2)) / 2), rel=1e-12
    )


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 999))
def test_the_matching_is_the_best_of_all_permutations(seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(4, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    cost = lambda order: (a - b[list(order)]).square().sum().item()  # noqa: E731
    assert cost(match_rows(a, b)) == pytest.approx(
        min(map(cost, itertools.permutations(range(4)))), rel=1e-12
    )


def test_bad_calls_are_refused():
    with pytest.raises(ValueError, match=r"layers is 17: expected 1..16"):
        aligned_distance(tiny(), tiny(), layers=17)
    with pytest.raises(ValueError, match="weights of layer 1 have shapes"):
        aligned_distance(tiny(), tiny(width=1 / 8))
    with pytest.raises(ValueError, match="expected two equal"):
        match_rows(torch.zeros(2, 3), torch.zeros(3, 3))
