"""Conversion between MLP and nn.Sequential: round trips both ways, and refusals."""

import pytest
import torch
from hypothesis import given, settings
from mlp_oracle import nets, samples
from torch import nn

from lib.nets import MLP, Activation, flatten, forward, from_sequential, init, to_sequential
from lib.nets.activations import NAMES, elu, get, leaky_relu
from lib.nets.sequential import activation_module, activation_of

few = settings(max_examples=30, deadline=None, derandomize=True)


@few
@given(nets(depths=(1, 4)))
def test_round_trip_from_mlp(net):
    module = to_sequential(net)
    back = from_sequential(module)
    assert torch.equal(flatten(back), flatten(net))
    if net.depth > 1:  # without a hidden layer there is no activation to come back from
        assert back.activation == net.activation
    assert [b is None for b in back.biases] == [b is None for b in net.biases]
    x, _ = samples(net, 4)
    torch.testing.assert_close(module(x).detach(), forward(net, x), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    "sigma", [nn.Tanh(), nn.Sigmoid(), nn.ReLU(), nn.Identity(), nn.LeakyReLU(0.3), nn.ELU(0.5)]
)
def test_round_trip_from_module(sigma):
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(2, 3), sigma, nn.Linear(3, 4, bias=False), sigma, nn.Linear(4, 1)
    )
    net = from_sequential(module)
    assert (net.widths, net.dtype) == ((2, 3, 4, 1), torch.float32)
    back = to_sequential(net)
    assert repr(back) == repr(module)
    for a, b in zip(back.state_dict().values(), module.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    x = torch.randn(5, 2)
    torch.testing.assert_close(forward(net, x), module(x).detach())


def test_parameters_are_copies_both_ways():
    module = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    net = from_sequential(module)
    before = flatten(net).clone()
    assert not any(p.requires_grad for p in net.parameters())
    again = to_sequential(net)
    with torch.no_grad():
        for m in (module, again):
            for p in m.parameters():
                p.zero_()
    assert torch.equal(flatten(net), before)
    assert all(p.requires_grad for p in again.parameters())


def test_dtype_is_kept():
    assert to_sequential(init((1, 2, 1), generator=0))[0].weight.dtype == torch.float64
    assert from_sequential(nn.Sequential(nn.Linear(1, 1)).half()).dtype == torch.float16


@pytest.mark.parametrize("sigma", [*(get(n) for n in NAMES), leaky_relu(0.2), elu(3.0)], ids=repr)
def test_activation_modules(sigma):
    module = activation_module(sigma)
    assert activation_of(module) == sigma
    t = torch.linspace(-3, 3, 13)
    torch.testing.assert_close(module(t), sigma.value(t))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(), r"got 0 modules: expected Linear, activation, ..., Linear"),
        (nn.Sequential(nn.Linear(1, 1), nn.Tanh()), r"got 2 modules: expected Linear, activation"),
        (
            nn.Sequential(nn.Tanh(), nn.Linear(1, 1), nn.Tanh()),
            r"module 0 is Tanh: expected Linear",
        ),
        (
            nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1), nn.Linear(1, 1)),
            r"module 1 is Linear: expected an activation",
        ),
        (
            nn.Sequential(nn.Linear(1, 1), nn.GELU(), nn.Linear(1, 1)),
            r"GELU is no known activation: expected one of tanh",
        ),
        (
            nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1), nn.Linear(1, 1)),
            r"BatchNorm1d is no known activation",
        ),
        (nn.Sequential(nn.Conv2d(1, 1, 1)), r"module 0 is Conv2d: expected Linear"),
        (
            nn.Sequential(nn.Linear(1, 1), nn.Tanh(), nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)),
            r"activations differ: \['relu', 'tanh'\]; expected one",
        ),
        (
            nn.Sequential(
                nn.Linear(1, 1),
                nn.LeakyReLU(0.1),
                nn.Linear(1, 1),
                nn.LeakyReLU(0.2),
                nn.Linear(1, 1),
            ),
            r"activations differ",
        ),
    ],
)
def test_refusals(module, message):
    with pytest.raises(TypeError, match=message):
        from_sequential(module)


def test_batches_and_unknown_activations_are_refused():
    with pytest.raises(ValueError, match=r"is a batch of nets: index one first"):
        to_sequential(init((1, 2, 1), batch=(2,), generator=0))
    assert to_sequential(init((1, 2, 1), batch=(2,), generator=0)[0])[0].in_features == 1
    own = Activation("square", torch.square, lambda t: 2 * t, lambda t: 2 * torch.ones_like(t))
    with pytest.raises(TypeError, match=r"square has no module: expected one of tanh"):
        to_sequential(MLP((torch.ones(2, 1), torch.ones(1, 2)), activation=own))


def test_linear_layers_that_do_not_chain_are_named():
    with pytest.raises(
        ValueError, match=r"weight of layer 2 takes 3 inputs, layer 1 has 2 neurons"
    ):
        from_sequential(nn.Sequential(nn.Linear(1, 2), nn.Tanh(), nn.Linear(3, 1)))
