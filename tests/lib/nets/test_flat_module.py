"""Modules as functions of one vector."""

import pytest
import torch
from torch import nn

from lib.nets import flatten, forward, init, to_sequential, unflatten
from lib.nets.flat_module import output_at, parameter_vector


def test_the_order_is_that_of_mlp_flatten():
    net = init((2, 3, 2), "elu", generator=0)
    module, x = (
        to_sequential(net),
        torch.randn(4, 2, generator=torch.Generator().manual_seed(0)).double(),
    )
    assert torch.equal(parameter_vector(module), flatten(net))
    theta = torch.randn(net.n_parameters, generator=torch.Generator().manual_seed(1)).double()
    torch.testing.assert_close(
        output_at(module, theta, x), forward(unflatten(theta, net), x), rtol=1e-14, atol=1e-14
    )
    assert torch.equal(parameter_vector(module), flatten(net))


def test_running_statistics_stay_and_the_mode_counts():
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).double()
    x = torch.randn(5, 2).double()
    state = {k: v.clone() for k, v in module.state_dict().items()}
    out = output_at(module, parameter_vector(module), x)
    torch.testing.assert_close(out.mean(0), torch.zeros(3).double(), atol=1e-12, rtol=0)
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
    assert not torch.allclose(output_at(module.eval(), parameter_vector(module), x), out)


def test_gradients_flow_to_the_vector():
    module, theta = nn.Linear(2, 1, bias=False), torch.tensor([1.0, 2.0], requires_grad=True)
    output_at(module, theta, torch.tensor([[3.0, 4.0]])).sum().backward()
    assert theta.grad.tolist() == [3, 4]


def test_wrong_sizes():
    with pytest.raises(ValueError, match=r"theta has shape \(2,\): expected \(3,\)"):
        output_at(nn.Linear(2, 1), torch.ones(2), torch.ones(1, 2))
