"""Targets that make a net an exact critical point."""

import pytest
import torch

from lib.critical.targets import critical_targets
from lib.curvature import hessian, inertia
from lib.mlp import flatten, forward, init
from lib.risk import gradient, risk


@pytest.mark.parametrize("sigma", ["tanh", "relu", "elu"])
def test_gradient_vanishes_at_the_residual_asked_for(sigma):
    net, x = init((2, 3, 2), sigma), torch.randn(20, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for residual in (1e-3, 1.0, 50.0):
        y = critical_targets(net, x, residual)
        assert flatten(gradient(net, x, y)).norm() < 1e-14 * max(1.0, residual)
        assert float(risk(net, x, y)) == pytest.approx(residual**2, rel=1e-10)
    assert torch.equal(critical_targets(net, x, 0), forward(net, x))


def test_small_residuals_give_minima_large_ones_saddles():
    net, x = init((1, 2, 1), "tanh"), torch.linspace(-3, 3, 25, dtype=torch.float64)[:, None]
    minimum, saddle = (inertia(hessian(net, x, critical_targets(net, x, r))).counts for r in (1e-4, 10.0))
    assert minimum[0] == 0 < saddle[0]


def test_impossible_requests_are_refused():
    net, x = init((1, 2, 1)), torch.linspace(-3, 3, 25, dtype=torch.float64)[:, None]
    with pytest.raises(ValueError, match=r"no residual is critical; expected more than 7 outputs"):
        critical_targets(net, x[::4], 1.0)
    with pytest.raises(ValueError, match="residual is -1"):
        critical_targets(net, x, -1.0)
    with pytest.raises(ValueError, match="is a batch of nets"):
        critical_targets(init((1, 2, 1), batch=(3,)), x, 1.0)
    with pytest.raises(TypeError, match="torch.float32"):
        critical_targets(init((1, 2, 1), dtype=torch.float32), x.float(), 1.0)
