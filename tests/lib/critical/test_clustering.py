"""Canonical forms, orbit distances and clusters: what symmetry makes equal is equal, and nothing
else."""

from __future__ import annotations

import pytest
import torch

from lib.critical import cluster, polish
from lib.critical.polishing import CriticalPoint
from lib.nets import MLP, flatten, init, stack
from lib.symmetry import canonical
from tests.lib.symmetry.test_canonical_form import scrambled

F64 = torch.float64
X = torch.linspace(-15, 15, 50, dtype=F64)[:, None]
Y = torch.tanh(X - 7) + torch.tanh(X) + torch.tanh(X + 7)


def minimum(mirror: bool = False) -> MLP:
    w = torch.tensor([[1.302], [-0.155]], dtype=F64)
    b = torch.tensor([-9.3356, -0.4176], dtype=F64)
    return MLP((w, torch.tensor([[0.78859, -2.34185]], dtype=F64)), (-b if mirror else b, None))


def test_the_two_mirror_minima_of_width_2_stay_apart():
    """(Zhang et al. 2021, Fig. 4): at width 2 two functions of one loss, mirror images of one
    another."""
    g = torch.Generator().manual_seed(0)
    starts = stack([scrambled(minimum(mirror=i % 3 == 0), g) for i in range(9)])
    points = polish(starts, X, Y)
    found = cluster(points, X, input_tolerance=1e-6)
    assert [c.count for c in found] in ([3, 6], [6, 3])
    torch.testing.assert_close(found[0].output, -found[1].output.flip(0), rtol=0, atol=1e-9)
    members = {tuple(c.members.tolist()) for c in found}
    assert members == {(0, 3, 6), (1, 2, 4, 5, 7, 8)}
    for c in found:
        assert c.loss == pytest.approx(0.069792, abs=1e-6) and c.spread < 1e-9
        assert torch.equal(flatten(canonical(c.representative)), flatten(c.representative))


def test_splittings_of_one_net_are_one_function_and_one_set_of_input_weights():
    w, b, a = 0.0895, 0.0, 3.747
    alphas = torch.tensor([0.1, 0.5, 1.7], dtype=F64)
    nets = MLP(
        (
            torch.full((3, 2, 1), w, dtype=F64),
            torch.stack([a * (1 - alphas), a * alphas], -1).unsqueeze(1),
        ),
        (torch.full((3, 2), b, dtype=F64), None),
    )
    zeros = torch.zeros(3, dtype=F64)
    assert [c.count for c in cluster(nets, X, losses=zeros)] == [3]
    assert [c.count for c in cluster(nets, X, losses=zeros, input_tolerance=1e-9)] == [3]
    silent = nets.map(torch.clone)
    silent.weights[1][0] = torch.tensor([a, 0.0])
    silent.weights[0][0, 1] = 5.0
    assert [c.count for c in cluster(silent, X, losses=zeros)] == [3]
    assert sorted(c.count for c in cluster(silent, X, losses=zeros, input_tolerance=1e-9)) == [1, 2]


def test_clusters_come_by_falling_loss_and_count_everything():
    nets = init((1, 1, 1), batch=(2, 3), output_bias=False, generator=0)
    found = cluster(nets, X, losses=torch.tensor([[0.1, 0.5, 0.3], [0.2, 0.6, 0.4]], dtype=F64))
    assert [c.loss for c in found] == [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert sorted(int(i) for c in found for i in c.members) == list(range(6))


def test_cluster_leads_with_the_smallest_gradient():
    nets = stack([minimum(), minimum()])
    values = torch.tensor([1e-14, 1e-15], dtype=F64)
    zeros, yes = torch.zeros(2, dtype=F64), torch.ones(2, dtype=torch.bool)
    points = CriticalPoint(
        nets.map(lambda p: p * torch.tensor([1.0, 1.0 + 1e-9]).view(2, *[1] * (p.dim() - 1))),
        zeros,
        values,
        values,
        zeros,
        zeros.long(),
        yes,
        1e-13,
    )
    (one,) = cluster(points, X)
    assert torch.equal(flatten(one.representative), flatten(canonical(points.net[1])))


def test_cluster_errors():
    points = polish(
        stack([minimum(), init((1, 2, 1), std=1.0, output_bias=False, generator=0)]),
        X,
        Y,
        max_steps=3,
    )
    with pytest.raises(ValueError, match="did not converge: pass points.found"):
        cluster(points, X)
    with pytest.raises(ValueError, match="carry their own"):
        cluster(points, X, losses=torch.zeros(2))
    nets = init((1, 1, 1), batch=(3,), output_bias=False, generator=0)
    with pytest.raises(ValueError, match="losses are None"):
        cluster(nets, X)
    with pytest.raises(ValueError, match="output_tolerance is -1"):
        cluster(nets, X, losses=torch.zeros(3), output_tolerance=-1.0)
    # a chain: the middle one is close to both ends, which are not close to one another
    chain = MLP(
        (torch.zeros(3, 1, 1, dtype=F64), torch.ones(3, 1, 1, dtype=F64)),
        (torch.zeros(3, 1, dtype=F64), torch.tensor([[0.0], [1.8e-4], [0.9e-4]], dtype=F64)),
    )
    with pytest.raises(ValueError, match="do not separate"):
        cluster(chain, X, losses=torch.zeros(3, dtype=F64))
