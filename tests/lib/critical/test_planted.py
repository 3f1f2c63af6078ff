"""Targets that make a net an exact critical point."""

import numpy as np
import pytest
import torch
from draws import seeded
from hypothesis import given, settings
from hypothesis import strategies as st
from mlp_oracle import arrays, loop_gradient, nets
from torch import nn

from lib.certificate.modules import module_gradient
from lib.critical import plant
from lib.curvature import hessian, inertia
from lib.nets import flatten, forward, gradient, init, risk, unflatten


@settings(max_examples=20, deadline=None, derandomize=True)
@given(nets(depths=(1, 4), widest=4), st.sampled_from([0.0, 1e-3, 1.0, 100.0]))
def test_the_gradient_vanishes_and_the_risk_is_the_squared_residual(net, residual):
    x = torch.randn(net.n_parameters + 3, net.widths[0], generator=seeded()).double()
    y = plant(net, x, seeded(), residual=residual)
    assert float(risk(net, x, y)) == pytest.approx(residual**2, rel=1e-9)
    # rounding of sums over samples, in units of the residual and of the features
    assert float(flatten(gradient(net, x, y)).abs().sum()) < 1e-11 * (residual + 1e-3)


def test_against_loops():
    net = init((2, 2, 1), "sigmoid", generator=seeded())
    x = torch.randn(12, 2, generator=seeded(1)).double()
    y = plant(net, x, seeded(2))
    weights, biases = arrays(net)
    for g in [
        t
        for part in loop_gradient(weights, biases, "sigmoid", x.tolist(), y.tolist())
        for t in part
    ]:
        np.testing.assert_allclose(g, 0, atol=1e-14)


def test_small_residuals_plant_minima_and_large_ones_saddles():
    net = init((1, 2, 1), generator=seeded())
    x = torch.linspace(-3, 3, 25, dtype=torch.float64)[:, None]
    counts = [
        inertia(hessian(net, x, plant(net, x, seeded(), residual=r))).counts for r in (1e-4, 10.0)
    ]
    assert counts[0][0] == 0 < counts[1][0]


def test_draws_are_reproducible():
    net, x = init((1, 2, 1), generator=0), torch.linspace(-3, 3, 25, dtype=torch.float64)[:, None]
    assert torch.equal(plant(net, x, seeded(1)), plant(net, x, seeded(1)))
    assert not torch.equal(plant(net, x, seeded(1)), plant(net, x, seeded(2)))
    assert torch.equal(plant(net, x, seeded(), residual=0.0), forward(net, x))


def test_a_seed_plants_the_same_problem_whatever_basis_the_svd_finds():
    """The residual is the drawn vector less its part in the columns of J, here by least squares."""
    net, x = (
        init((1, 2, 1), generator=seeded()),
        torch.linspace(-3, 3, 25, dtype=torch.float64)[:, None],
    )
    slope = torch.func.jacrev(lambda theta: forward(unflatten(theta, net), x).flatten())(
        flatten(net)
    ).numpy()
    drawn = torch.randn(25, generator=seeded(1), dtype=torch.float64).numpy()
    rest = drawn - slope @ np.linalg.lstsq(slope, drawn, rcond=None)[0]
    expected = forward(net, x).flatten().numpy() - 0.5 * rest / np.sqrt(np.mean(rest**2))
    np.testing.assert_allclose(
        plant(net, x, seeded(1), residual=0.5).flatten().numpy(), expected, atol=1e-12
    )


def test_modules_with_batch_norm():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2)
    ).double()
    x = torch.randn(40, 1, 3, 3, generator=seeded()).double()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    y = plant(net, x, seeded())
    assert float(module_gradient(net, x, y).abs().sum()) < 1e-12
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_impossible_requests():
    net, x = init((1, 2, 1), generator=0), torch.linspace(-3, 3, 25, dtype=torch.float64)[:, None]
    with pytest.raises(
        ValueError,
        match=r"7 samples of 1 outputs leave no residual .* rank 7: expected more than 7",
    ):
        plant(net, x[:7], seeded())
    with pytest.raises(ValueError, match=r"is a batch of nets: index one first"):
        plant(init((1, 2, 1), batch=(2,), generator=0), x, seeded())
    for residual in (-1.0, float("nan")):
        with pytest.raises(ValueError, match=r"residual is .*: expected"):
            plant(net, x, seeded(), residual=residual)
