"""The MLP pytree: shapes, order of parameters, batches, and what its constructor refuses."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mlp_oracle import arrays, loop_features, nets, samples
from torch.utils import _pytree

from lib.nets import MLP, features, flatten, forward, init, preactivations, stack, unflatten
from lib.nets.activations import NAMES, get

few = settings(max_examples=30, deadline=None, derandomize=True)
BATCHES = ((), (3,), (2, 2))


@few
@given(nets(depths=(1, 4)))
def test_features_against_loops(net):
    x, _ = samples(net, 3)
    found = features(net, x)
    assert len(found) == net.depth + 1
    for row in range(3):
        expected = loop_features(*arrays(net), net.activation.name, x[row].tolist())
        for layer, values in enumerate(expected):
            # a dozen roundings of sums of order one
            np.testing.assert_allclose(found[layer][row].numpy(), values, rtol=1e-12, atol=1e-12)
    assert torch.equal(forward(net, x), found[-1])
    for before, after in zip(preactivations(net, x)[:-1], found[1:-1], strict=True):
        assert torch.equal(net.activation.value(before), after)


@few
@given(nets(depths=(1, 4), batches=BATCHES))
def test_batches_are_nets_side_by_side(net):
    x, _ = samples(net, 4)
    together = forward(net, x)
    assert together.shape == (*net.batch, 4, net.widths[-1])
    if net.batch:
        for index in np.ndindex(*net.batch):
            # matrix products of batches may add up in another order
            torch.testing.assert_close(
                forward(net[index], x), together[index], rtol=1e-12, atol=1e-13
            )


@few
@given(nets(depths=(1, 4), batches=BATCHES))
def test_flatten_and_unflatten_are_inverse(net):
    vector = flatten(net)
    assert vector.shape == (*net.batch, net.n_parameters)
    back = unflatten(vector, net)
    assert torch.equal(flatten(back), vector)
    assert (back.widths, back.batch, back.activation) == (net.widths, net.batch, net.activation)
    assert [b is None for b in back.biases] == [b is None for b in net.biases]
    more = unflatten(
        vector.expand(5, *vector.shape), net
    )  # leading dimensions come from the vector
    assert more.batch == (5, *net.batch)
    assert torch.equal(flatten(more[4]), vector)


def test_the_order_of_parameters_and_their_number():
    weights = [torch.arange(6.0).reshape(3, 2), torch.arange(10.0, 13.0).reshape(1, 3)]
    net = MLP(weights, [torch.tensor([20.0, 21.0, 22.0]), torch.tensor([30.0])])
    assert flatten(net).tolist() == [0, 1, 2, 3, 4, 5, 20, 21, 22, 10, 11, 12, 30]
    assert flatten(MLP(weights, [None, torch.tensor([30.0])])).tolist() == [
        0,
        1,
        2,
        3,
        4,
        5,
        10,
        11,
        12,
        30,
    ]
    assert net.n_parameters == 13
    assert MLP(weights).n_parameters == 9
    assert [tuple(p.shape) for p in net.parameters()] == [(3, 2), (3,), (1, 3), (1,)]
    assert (net.depth, net.widths, net.batch, net.dtype) == (2, (2, 3, 1), (), torch.float32)
    assert net.device.type == "cpu"


def test_it_is_a_pytree():
    net = init((2, 3, 1), "relu", batch=(2,), output_bias=False, generator=0)
    leaves, spec = _pytree.tree_flatten(net)
    assert len(leaves) == 3
    double = _pytree.tree_map(lambda p: 2 * p, net)
    assert isinstance(double, MLP)
    assert torch.equal(flatten(double), 2 * flatten(net))
    assert double.activation == net.activation
    assert double.biases[1] is None
    assert spec == _pytree.tree_structure(double)
    assert spec != _pytree.tree_structure(init((2, 3, 1), "tanh", output_bias=False, generator=0))


def test_transforms_see_through_it():
    net = init((2, 3, 1), batch=(4,), generator=0)
    x = samples(net, 5)[0]
    by_vmap = torch.func.vmap(lambda n: forward(n, x))(net)
    torch.testing.assert_close(by_vmap, forward(net, x))
    grads = torch.func.grad(lambda n: forward(n, x).sum())(net[0])
    assert isinstance(grads, MLP)
    assert grads.widths == net.widths


def test_map_to_and_copies():
    net = init((2, 3, 1), generator=0)
    half = net.to(torch.float32)
    assert (half.dtype, net.dtype) == (torch.float32, torch.float64)
    assert torch.equal(flatten(net.map(torch.neg)), -flatten(net))
    twin = copy.deepcopy(net)
    twin.weights[0].zero_()
    assert float(net.weights[0].abs().sum()) > 0


def test_it_is_frozen_and_compares_by_identity():
    net = init((1, 2, 1), generator=0)
    with pytest.raises(AttributeError):
        net.weights = ()
    assert net == net
    assert net != init((1, 2, 1), generator=0)
    assert len({net, init((1, 2, 1), generator=0)}) == 2


def test_indexing():
    net = init((1, 2, 1), batch=(3, 2), generator=0)
    assert net[1].batch == (2,)
    assert net[1, 0].batch == ()
    assert net[:, 1].batch == (3,)
    assert net[torch.tensor([True, False, True])].batch == (2, 2)
    assert torch.equal(flatten(net[2, 1]), flatten(net)[2, 1])
    with pytest.raises(IndexError, match="one net, not a batch"):
        init((1, 2, 1), generator=0)[0]
    for bad in (3, (0, 2), (0, 0, 0)):
        with pytest.raises(IndexError):
            net[bad]


def test_repr():
    assert repr(init((2, 3, 1), "elu", generator=0)) == "MLP(2-3-1, elu(1), 13 parameters)"
    assert (
        repr(init((2, 3, 1), batch=(4, 2), bias=False, generator=0))
        == "MLP((4, 2) x 2-3-1, tanh, 9 parameters)"
    )


@few
@given(
    st.lists(
        nets(depths=(2, 2), widest=2, names=("tanh",), all_biases=True), min_size=1, max_size=4
    )
)
def test_stack(several):
    if len({n.widths for n in several}) > 1:
        with pytest.raises(ValueError, match="expected nets of one shape and activation"):
            stack(several)
    else:
        assert stack(several).batch == (len(several),)
        assert torch.equal(flatten(stack(several)), torch.stack([flatten(n) for n in several]))


@pytest.mark.parametrize(
    "other",
    [
        init((1, 2, 1), "relu", generator=0),
        init((1, 2, 1), output_bias=False, generator=0),
        init((1, 2, 1), batch=(1,), generator=0),
        init((1, 3, 1), generator=0),
    ],
)
def test_stack_refuses_different_nets(other):
    with pytest.raises(ValueError, match="cannot stack"):
        stack([init((1, 2, 1), generator=0), other])


def test_stack_needs_nets():
    with pytest.raises(ValueError, match="cannot stack"):
        stack([])


def test_init_statistics_and_reproducibility():
    net = init((3, 50, 2), std=0.5, batch=(100,), generator=torch.Generator().manual_seed(1))
    values = flatten(net)
    n = values.numel()
    assert float(values.mean()) == pytest.approx(0, abs=5 * 0.5 / n**0.5)  # five standard errors
    assert float(values.std()) == pytest.approx(0.5, rel=5 / (2 * n) ** 0.5)
    again = init((3, 50, 2), std=0.5, batch=(100,), generator=torch.Generator().manual_seed(1))
    assert torch.equal(flatten(again), values)
    assert torch.equal(flatten(init((1, 2, 1), generator=0)), flatten(init((1, 2, 1), generator=0)))
    assert float(flatten(init((1, 2, 1), std=0, generator=0)).abs().max()) == 0
    assert init((1, 2, 1), dtype=torch.float32, generator=0).dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "has"),
    [
        ({}, [True, True]),
        ({"output_bias": False}, [True, False]),
        ({"bias": False}, [False, False]),
    ],
)
def test_which_layers_have_biases(arguments, has):
    assert [b is not None for b in init((1, 2, 1), **arguments, generator=0).biases] == has


@pytest.mark.parametrize("name", NAMES)
def test_activation_by_name_or_object(name):
    assert (
        init((1, 2, 1), name, generator=0).activation
        == init((1, 2, 1), get(name), generator=0).activation
    )


ONE = torch.ones(1, 1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: MLP([]), ValueError, r"got 0 weights and 0 biases: expected L >= 1"),
        (lambda: MLP([ONE], [None, None]), ValueError, r"got 1 weights and 2 biases"),
        (lambda: MLP([[1.0]]), TypeError, r"weight of layer 1 is list: expected a floating tensor"),
        (
            lambda: MLP([torch.ones(1, 1, dtype=torch.int64)]),
            TypeError,
            r"weight of layer 1 is torch.int64",
        ),
        (lambda: MLP([ONE, None]), TypeError, r"weight of layer 2 is NoneType"),
        (lambda: MLP([ONE], [torch.ones(1).long()]), TypeError, r"bias of layer 1 is torch.int64"),
        (
            lambda: MLP([ONE, ONE.double()]),
            TypeError,
            r"weight of layer 2 is torch.float64, the first weight torch.float32",
        ),
        (
            lambda: MLP([ONE], [torch.ones(1).double()]),
            TypeError,
            r"bias of layer 1 is torch.float64",
        ),
        (
            lambda: MLP([torch.ones(2, 1), torch.ones(1, 3)]),
            ValueError,
            r"layer 2 takes 3 inputs, layer 1 has 2 neurons",
        ),
        (
            lambda: MLP([torch.ones(2, 1)], [torch.ones(3)]),
            ValueError,
            r"bias of layer 1 has 3 entries, its weight 2 rows",
        ),
        (lambda: MLP([torch.ones(2)]), ValueError, r"weight of layer 1 has shape \(2,\)"),
        (
            lambda: MLP([torch.ones(4, 2, 1), torch.ones(1, 2)]),
            ValueError,
            r"weight of layer 2 has shape \(1, 2\)",
        ),
        (
            lambda: MLP([torch.ones(4, 2, 1)], [torch.ones(2)]),
            ValueError,
            r"bias of layer 1 has shape \(2,\): expected \(4,\)",
        ),
        (lambda: MLP([ONE], activation="swish"), ValueError, r"activation 'swish' is unknown"),
        (lambda: init((2,), generator=0), ValueError, r"widths \(2,\): expected at least two"),
        (
            lambda: init((2, 0, 1), generator=0),
            ValueError,
            r"a width is 0: expected >= 1",
        ),
        (
            lambda: init((2, 1), std=-1.0, generator=0),
            ValueError,
            r"std is -1.0: expected a finite",
        ),
        (
            lambda: init((2, 1), std=math.nan, generator=0),
            ValueError,
            r"std is nan: expected a finite",
        ),
        (
            lambda: forward(init((2, 1), generator=0), torch.ones(3, 1)),
            ValueError,
            r"inputs have shape \(3, 1\): expected \(n, 2\)",
        ),
        (
            lambda: forward(init((2, 1), generator=0), torch.ones(2)),
            ValueError,
            r"inputs have shape \(2,\)",
        ),
        (
            lambda: unflatten(torch.ones(4), init((2, 1), generator=0)),
            ValueError,
            r"vector has shape \(4,\): expected \(\*batch, 3\)",
        ),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_no_samples_give_no_outputs():
    assert forward(init((2, 3, 1), generator=0), torch.ones(0, 2).double()).shape == (0, 1)


def test_a_batch_of_no_nets_flattens_and_comes_back():
    none = init((2, 3, 1), batch=(4,), generator=0)[torch.zeros(4, dtype=torch.bool)]
    assert flatten(none).shape == (0, 13)
    assert unflatten(flatten(none), none).batch == (0,)


def test_without_a_generator_every_draw_is_fresh_and_its_seed_is_named():
    state = torch.get_rng_state()
    nets = []
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"init drew with the fresh seed \d+: pass") as seen:
            nets.append(init((1, 2, 1)))
    assert not torch.equal(flatten(nets[0]), flatten(nets[1]))
    seed = int(str(seen[0].message).rsplit("generator=")[1].split()[0])
    assert torch.equal(flatten(init((1, 2, 1), generator=seed)), flatten(nets[1]))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_source_of_randomness_is_a_generator_or_a_seed():
    with pytest.raises(TypeError, match="generator is 'a': expected a torch.Generator or an int"):
        init((1, 2, 1), generator="a")
