"""The empirical risk and its gradient, against loops and against torch's and SciPy's losses."""

import math

import numpy as np
import pytest
import scipy.special
import torch
from hypothesis import given, settings
from mlp_oracle import arrays, loop_features, loop_gradient, nets, samples

from lib.nets import MLP, cross_entropy, flatten, gradient, init, mse, risk, unflatten

few = settings(max_examples=30, deadline=None, derandomize=True)
BATCHES = ((), (3,), (2, 2))


@few
@given(nets(depths=(1, 4), widest=4))
def test_risk_against_loops(net):
    x, y = samples(net, 4)
    total = 0.0
    for sample, target in zip(x.tolist(), y.tolist(), strict=True):
        out = loop_features(*arrays(net), net.activation.name, sample)[-1]
        total += sum((o - t) ** 2 for o, t in zip(out, target, strict=True)) / len(out)
    assert float(risk(net, x, y)) == pytest.approx(total / 4, rel=1e-12)


@few
@given(nets(depths=(1, 3), widest=4))
def test_gradient_against_backpropagation_in_loops(net):
    x, y = samples(net, 4)
    weights, biases = loop_gradient(*arrays(net), net.activation.name, x.tolist(), y.tolist())
    found = gradient(net, x, y)
    for layer in range(net.depth):
        np.testing.assert_allclose(
            found.weights[layer].numpy(), weights[layer], rtol=1e-10, atol=1e-13
        )
        if net.biases[layer] is None:
            assert found.biases[layer] is None
        else:
            np.testing.assert_allclose(
                found.biases[layer].numpy(), biases[layer], rtol=1e-10, atol=1e-13
            )


@few
@given(nets(depths=(1, 4), batches=BATCHES))
def test_nets_of_a_batch_do_not_interact(net):
    x, y = samples(net, 5)
    values, slopes = risk(net, x, y), flatten(gradient(net, x, y))
    assert values.shape == net.batch
    assert slopes.shape == (*net.batch, net.n_parameters)
    if net.batch:
        for index in np.ndindex(*net.batch):
            torch.testing.assert_close(risk(net[index], x, y), values[index], rtol=1e-12, atol=0)
            torch.testing.assert_close(
                flatten(gradient(net[index], x, y)), slopes[index], rtol=1e-9, atol=1e-12
            )


@pytest.mark.parametrize("loss", [mse, cross_entropy])
def test_gradient_against_finite_differences(loss):
    net = init((2, 3, 3), "sigmoid", generator=0)
    x, y = samples(net, 6)
    y = y if loss is mse else torch.arange(6) % 3
    theta, found, h = flatten(net), flatten(gradient(net, x, y, loss)), 1e-6
    for i, e in enumerate(torch.eye(len(theta)).double()):
        up, down = (float(risk(unflatten(theta + s * h * e, net), x, y, loss)) for s in (1, -1))
        # central difference: h^2 times a third derivative, plus eps / h
        assert float(found[i]) == pytest.approx((up - down) / (2 * h), abs=1e-8)


def test_mse_is_torchs():
    g = torch.Generator().manual_seed(0)
    out, y = (torch.randn(7, 3, generator=g).double() for _ in range(2))
    torch.testing.assert_close(
        mse(out, y), torch.nn.functional.mse_loss(out, y), rtol=1e-14, atol=0
    )
    assert mse(torch.stack([out, y]), y).tolist() == [float(mse(out, y)), 0.0]


def test_cross_entropy_is_torchs_and_scipys():
    g = torch.Generator().manual_seed(0)
    out, y = 5 * torch.randn(7, 3, generator=g).double(), torch.randint(0, 3, (7,), generator=g)
    found = cross_entropy(out, y)
    torch.testing.assert_close(found, torch.nn.functional.cross_entropy(out, y), rtol=1e-14, atol=0)
    logs = scipy.special.log_softmax(out.numpy(), axis=1)
    assert float(found) == pytest.approx(
        -np.mean([logs[i, int(c)] for i, c in enumerate(y)]), rel=1e-13
    )
    assert cross_entropy(torch.stack([out] * 4).reshape(2, 2, 7, 3), y).shape == (2, 2)


def test_cross_entropy_of_extreme_logits_is_finite():
    out = torch.tensor([[1e4, -1e4], [-1e4, 1e4]]).double()
    assert float(cross_entropy(out, torch.tensor([0, 1]))) == 0
    assert float(cross_entropy(out, torch.tensor([1, 0]))) == 2e4


def test_the_gradient_leaves_the_net_alone():
    net = init((1, 2, 1), generator=0)
    x, y = samples(net, 3)
    found = gradient(net, x, y)
    assert isinstance(found, MLP)
    assert not any(p.requires_grad for p in (*net.parameters(), *found.parameters()))
    tracked = net.map(lambda p: p.clone().requires_grad_())
    gradient(tracked, x, y)
    assert all(p.grad is None for p in tracked.parameters())
    risk(tracked, x, y).backward()
    torch.testing.assert_close(
        torch.cat([p.grad.flatten() for p in tracked.parameters()]), flatten(found)
    )


def test_gradient_at_the_minimum_of_linear_regression():
    """A one-layer net is linear regression: at numpy's least-squares solution the gradient is
    rounding."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 3, generator=g).double(), torch.randn(20, 2, generator=g).double()
    solution = np.linalg.lstsq(np.hstack([x.numpy(), np.ones((20, 1))]), y.numpy(), rcond=None)[0]
    net = MLP((torch.from_numpy(solution[:3].T.copy()),), (torch.from_numpy(solution[3].copy()),))
    assert float(flatten(gradient(net, x, y)).abs().sum()) < 1e-13


def test_own_losses():
    net = init((1, 2, 1), batch=(2,), generator=0)
    x, y = samples(net, 5)
    half = risk(net, x, y, lambda f, t: 0.5 * mse(f, t))
    torch.testing.assert_close(half, 0.5 * risk(net, x, y))
    assert math.isfinite(float(half.sum()))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (
            torch.ones(3, 2),
            torch.ones(4, 1),
            r"targets have shape \(4, 1\): expected \(3, 1\), or \(3,\) class indices",
        ),
        (torch.ones(3, 2), torch.ones(3, 2), r"targets have shape \(3, 2\): expected \(3, 1\)"),
        (torch.ones(3, 1), torch.ones(3, 1), r"inputs have shape \(3, 1\): expected \(n, 2\)"),
    ],
)
@pytest.mark.parametrize("function", [risk, gradient])
def test_refusals(function, x, y, message):
    with pytest.raises(ValueError, match=message):
        function(init((2, 2, 1), generator=0), x.double(), y.double())


@pytest.mark.parametrize("function", [risk, gradient])
def test_targets_that_would_broadcast_are_refused(function):
    """(n,) targets against (n, 1) outputs would silently become an (n, n) table of differences."""
    net = init((1, 2, 1), generator=0)
    x, y = samples(net, 4)
    with pytest.raises(
        ValueError, match=r"targets of mse have shape \(4,\): expected \(4, 1\), as the outputs"
    ):
        function(net, x, y.flatten())
    with pytest.raises(ValueError, match=r"targets of mse have shape \(4,\)"):
        function(init((1, 2, 4), generator=0), x, torch.arange(4))
    with pytest.raises(
        ValueError,
        match=(
            r"targets of cross_entropy are \(4, 1\), torch.float64: expected class indices \(4,\)"
        ),
    ):
        function(net, x, y, cross_entropy)
    with pytest.raises(ValueError, match=r"torch.int32: expected class indices"):
        function(net, x, torch.zeros(4, dtype=torch.int32), cross_entropy)
