"""Multi-step embeddings and the affine family of Theorem 2 (Zhang et al. 2021)."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mlp_oracle import alphas, nets, neurons, samples

from lib.critical import plant
from lib.curvature import hessian
from lib.nets import MLP, flatten, forward, gradient, init, risk, stack
from lib.width import affine_family, append, embed, null_embed, split

few = settings(max_examples=30, deadline=None, derandomize=True)


@st.composite
def splittings(draw, net: MLP, count=(1, 4)):
    """Steps of neurons of the original net, all different."""
    pairs = [(layer, s) for layer in range(1, net.depth) for s in range(net.widths[layer])]
    return draw(st.lists(st.sampled_from(pairs), min_size=count[0], max_size=count[1], unique=True))


@few
@given(
    st.data(), nets(all_biases=True, batches=((), (3,))), st.lists(alphas, min_size=1, max_size=4)
)
def test_embed_applies_the_steps_in_order(data, net, values):
    steps, wide = [], net
    for value in values:
        if data.draw(st.booleans()):
            layer, s = data.draw(neurons(wide))
            wide = split(wide, layer, s, value)
        else:
            layer, s = data.draw(st.integers(1, net.depth - 1)), None
            wide = null_embed(wide, layer, value)
        steps.append((layer, s, value))
    assert torch.equal(flatten(embed(net, steps)), flatten(wide))
    assert sum(wide.widths) == sum(net.widths) + len(values)
    x, _ = samples(net, 3)
    size = math.prod(1 + abs(v) for v in values)
    torch.testing.assert_close(forward(wide, x), forward(net, x), rtol=1e-12, atol=1e-12 * size)


def test_no_step_is_the_identity_and_bad_steps_are_named():
    net = init((1, 2, 2, 1), generator=0)
    assert embed(net, []) is net
    with pytest.raises(ValueError, match=r"step 2: neuron 3 outside 0..2 of layer 1"):
        embed(net, [(1, 0, 0.5), (1, 3, 0.5)])
    with pytest.raises(TypeError, match=r"step 1: alpha is 'x'"):
        embed(net, [(1, 0, "x")])
    with pytest.raises(
        TypeError, match=r"step 1 is \(1, 0\): expected \(layer, neuron or None, number\)"
    ):
        embed(net, [(1, 0)])


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.data(), nets(widest=4, depths=(2, 4)))
def test_theorem_2_affine_subspace_of_critical_points(data, net):
    steps = data.draw(splittings(net))
    values = data.draw(st.lists(alphas, min_size=len(steps), max_size=len(steps)))
    x, _ = samples(net, net.n_parameters + 5)
    y = plant(net, x, torch.Generator().manual_seed(0))
    family = affine_family(net, steps)
    member = family.member(values)
    size = math.prod(1 + abs(v) for v in values)
    assert float(flatten(gradient(net, x, y)).abs().sum()) < 1e-11
    assert float(flatten(gradient(member, x, y)).abs().sum()) < 1e-11 * size
    assert float(risk(member, x, y)) == pytest.approx(1.0, abs=1e-10 * size)
    # Splittings of different neurons commute up to the order of the copies: the member is their
    # composition.
    composed = embed(net, [(*s, v) for s, v in zip(steps, values, strict=True)])
    torch.testing.assert_close(flatten(member), flatten(composed), rtol=1e-12, atol=1e-12 * size)


@few
@given(st.data(), nets(batches=((), (2,))))
def test_theorem_2_dimension_is_the_number_of_splittings(data, net):
    steps = data.draw(splittings(net))
    family = affine_family(net, steps)
    assert not family.silent.any()
    found = family.dimension()
    assert (found.value == len(steps)).all()
    assert (found.gap == math.inf).all()
    # oracle: numpy's rank of explicit differences between members
    flat = (
        flatten(family.directions)
        .reshape(len(steps), -1, family.base.n_parameters)
        .movedim(1, 0)
        .numpy()
    )
    for directions in flat:
        assert np.linalg.matrix_rank(directions) == len(steps)


def test_claim_a3_a_silent_neuron_adds_no_dimension():
    g = torch.Generator().manual_seed(0)
    net = append(
        init((1, 2, 1), generator=g), 1, torch.ones(1).double(), 0.1, torch.zeros(1).double()
    )
    family = affine_family(net, [(1, 0), (1, 2), (1, 1)])
    assert family.silent.tolist() == [False, True, False]
    assert int(family.dimension().value) == 2
    assert int(affine_family(net, [(1, 2)]).dimension().value) == 0


def test_splitting_one_neuron_twice_spans_its_shares_but_splitting_the_copy_adds_nothing():
    g = torch.Generator().manual_seed(0)
    net = init((2, 2, 1), generator=g)
    x = torch.randn(30, 2, generator=g, dtype=torch.float64)
    y = plant(net, x, g)
    twice = affine_family(net, [(1, 0), (1, 0)])
    assert int(twice.dimension().value) == 2
    member = twice.member([0.5, -2.0])
    w = float(net.weights[1][0, 0])
    assert member.weights[1][0, [0, 2, 3]].tolist() == pytest.approx([2.5 * w, 0.5 * w, -2 * w])
    assert float(flatten(gradient(member, x, y)).abs().sum()) < 1e-12
    assert affine_family(net, [(1, 0), (1, 2)]).silent.tolist() == [False, True]


def test_lemma_2_directions_lie_in_the_kernel_of_the_hessian():
    g = torch.Generator().manual_seed(2)
    net = init((2, 3, 2, 1), generator=g)
    x = torch.randn(60, 2, generator=g, dtype=torch.float64)
    y = plant(net, x, g)
    family = affine_family(net, [(1, 0), (2, 1), (1, 2)])
    h = hessian(family.member([0.3, 1.5, -1.0]), x, y)
    v = flatten(family.directions)
    # Curvature along exact lines of critical points is rounding of entries of size |h| |v|.
    assert (
        float((v @ h).abs().max())
        < 1e-13 * float(h.abs().max()) * float(v.abs().max()) * h.shape[0]
    )


def test_members_of_batches():
    net = stack([init((1, 2, 1), generator=torch.Generator().manual_seed(i)) for i in range(3)])
    family = affine_family(net, [(1, 0), (1, 1)])
    assert family.silent.shape == (2, 3)
    assert family.dimension().value.tolist() == [2, 2, 2]
    one = family.member([0.5, 2.0])
    each = family.member(torch.tensor([[0.5, 2.0], [0.0, 0.0], [1.0, -1.0]]).double())
    many = family.member(torch.tensor([0.5, 2.0]).double().expand(4, 1, 2))
    assert (one.batch, each.batch, many.batch) == ((3,), (3,), (4, 3))
    assert torch.equal(flatten(each[0]), flatten(one[0]))
    assert torch.equal(flatten(each[1]), flatten(family.base[1]))
    assert torch.equal(flatten(many[2]), flatten(one))
    single = affine_family(init((1, 2, 1), generator=0), [(1, 0), (1, 1)]).member(
        torch.eye(2).double()
    )
    assert single.batch == (2,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n: affine_family(n, []), r"got no steps"),
        (lambda n: affine_family(n, [(2, 0)]), r"step 1: layer 2 outside 1..1"),
        (lambda n: affine_family(n, [(1, 0)]).member([0.1, 0.2]), r"got 2 alphas: expected 1"),
        (
            lambda n: affine_family(n, [(1, 0)]).member([math.nan]),
            r"alphas is a tensor with non-finite entries",
        ),
    ],
)
def test_impossible_requests(call, message):
    with pytest.raises(ValueError, match=message):
        call(init((1, 2, 1), generator=0))
