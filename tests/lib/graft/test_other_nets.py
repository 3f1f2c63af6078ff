"""Grafts of unusual nets and data: right or refused in words; nothing given is changed."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lib.graft import (
    JointTraining,
    downstream_distances,
    graft,
    graft_fresh,
    graft_layers,
    graft_trained,
    matching_loss,
)
from lib.joint import Geometry, NormalEquations, solve
from lib.joint.fit import equations, fit_features, fit_joint
from lib.nets import Chain


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def net(seed, widths=(2, 3, 2), act=nn.ReLU):
    torch.manual_seed(seed)
    joints = [nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False)]
    return Chain(joints, [act() for _ in joints[1:]])


X = normal(40, 2)
FEW = JointTraining(epochs=1, batch=8, pad=None)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", [0, 39])
def test_data_that_is_not_finite_is_refused(wrong, where):
    x = X.clone()
    x[where, 1] = wrong
    a, b = net(1), net(2)
    for call in (
        lambda: graft(a, b, x, 1),
        lambda: graft(a, b, x.split(7), 1),
        lambda: graft_trained(a, b, x, 1, FEW, generator=0),
        lambda: graft_fresh(a, b, x, 1, generator=0),
        lambda: matching_loss(graft(a, b, X, 1), b, x),
        lambda: downstream_distances(graft(a, b, X, 1), b, x),
    ):
        with pytest.raises(ValueError, match="1 of .* numbers are NaN or infinite"):
            call()


@pytest.mark.parametrize("which", [0, 1])
def test_weights_that_are_not_finite_are_refused(which):
    nets = [net(1), net(2)]
    with torch.no_grad():
        nets[which].joint(1).weight[0, 0] = math.nan
        nets[which].joint(2).weight[0, 0] = math.nan
    with pytest.raises(ValueError, match="of the joint: .* NaN or infinite"):
        graft(*nets, X, 1)


@pytest.mark.parametrize("offset", [1e3, -1e4, 3e5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_offset_is_no_constant_feature(offset, dtype):
    """1000 +- 1 varies: a net grafted onto itself is a perfect match."""
    one = net(0, act=nn.Identity).to(dtype)
    with torch.no_grad():
        one.joint(1).weight.copy_(torch.eye(3, 2))
        one.joint(1).bias.fill_(0.5)
    found = graft(one, one, (X + offset).to(dtype), 1)
    # float32 targets near 3e5 are rounded by 0.02; sums of squares in float64 lose offset^2 eps
    assert found.relative < (1e-3 if dtype == torch.float32 else 1e-5)
    assert found.solution.constant == 1  # the third feature is its bias


def test_a_constant_offset_of_padded_maps():
    torch.manual_seed(0)
    joints = [nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 2, 3, padding=1)]
    one = Chain(joints, [nn.Identity()]).double()
    x = normal(30, 1, 5, 5).double()
    with torch.no_grad():
        one.joint(1).bias += 1e4
    found = graft(one, one, x, 1)
    assert found.relative < 1e-9


@pytest.mark.parametrize("scale", [1e20, 1e-20, 1e30, 1e-30])
def test_the_size_of_the_numbers_does_not_matter(scale):
    one = net(1)
    for joint in one.joints:
        nn.init.zeros_(joint.bias)
    assert graft(one, one, X * scale, 1).relative < 1e-6
    other = net(2)
    for joint in other.joints:
        nn.init.zeros_(joint.bias)
    as_it_is = graft(one, other, X, 1).relative
    assert graft(one, other, X * scale, 1).relative == pytest.approx(as_it_is, rel=1e-4)


def test_numbers_beyond_all_squares_are_refused():
    one = net(1).double()
    with pytest.raises(ValueError, match="squares are finite; scale the data"):
        graft(one, one, X.double() * 1e200, 1)


@pytest.mark.parametrize("ridge", [math.inf, math.nan, -1.0])
def test_a_ridge_that_is_no_finite_number_is_refused(ridge):
    found = NormalEquations(Geometry(5, 3, linear=True), torch.float64)
    found.add(normal(200, 5), normal(200, 3, seed=1))
    for call in (
        lambda: solve(found, ridge=ridge),
        lambda: fit_joint(found, ridge),
        lambda: graft(net(1), net(2), X, 1, ridge=ridge),
    ):
        with pytest.raises(ValueError, match="expected a finite number >= 0"):
            call()
    wide = Geometry(50, 1, linear=True)
    with pytest.raises(ValueError, match="ridge is"):
        fit_features(wide, [normal(4, 50)], [normal(4, 1)], ridge)


@pytest.mark.parametrize("ridge", [1e-300, 1e300])
def test_extreme_ridges_end(ridge):
    x = normal(20, 3).double()
    found = solve(equations(Geometry(3, 1, linear=True), [x], [x[:, :1]]), ridge=ridge)
    assert torch.isfinite(found.weight).all()
    assert found.relative == pytest.approx(0.0 if ridge < 1 else 1.0, abs=1e-12)


@pytest.mark.parametrize("act", [nn.ReLU, nn.ELU, nn.LeakyReLU, nn.SiLU])
def test_activations_that_overwrite_give_what_others_give(act):
    x = normal(64, 4)
    nets = {}
    for inplace in (False, True):
        made = [net(s, (4, 5, 5, 2), lambda: act(inplace=inplace)) for s in (1, 2)]  # noqa: B023
        before = x.clone()
        nets[inplace] = [g.relative for g in graft_layers(*made, x, [1, 2])]
        nets[inplace] += list(downstream_distances(graft(*made, x, 1), made[1], x).distance)
        nets[inplace].append(graft_trained(*made, x, 1, FEW, generator=0).relative)
        assert torch.equal(x, before)
    assert nets[True] == pytest.approx(nets[False], rel=1e-6)


def test_loaders_lists_and_tensors_are_the_same_data():
    a, b = net(1), net(2)
    wanted = graft(a, b, X, 1, batch=5)
    loader = DataLoader(TensorDataset(X, torch.zeros(40)), batch_size=5)
    for data in (loader, DataLoader(X, batch_size=5), list(X.split(5)), iter(X.split(5))):
        assert graft(a, b, data, 1).relative == pytest.approx(wanted.relative, rel=1e-9)
    assert matching_loss(wanted, b, loader) == pytest.approx(matching_loss(wanted, b, X), rel=1e-6)
    with pytest.raises(TypeError, match="a batch is ndarray"):
        graft(a, b, [np.zeros((3, 2))], 1)
    with pytest.raises(ValueError, match="no images"):
        graft(a, b, [], 1)
    with pytest.raises(TypeError, match="layer is tensor"):
        graft(a, b, 1, X)  # the wrong way round
    with pytest.raises(TypeError, match="x is int: expected a tensor"):
        graft(a, b, 1, 1)


def test_constant_features_and_constant_targets():
    a, b = net(1), net(2)
    with torch.no_grad():
        a.joint(1).weight.zero_()  # features that never vary: the best joint is the mean
        found = graft(a, b, X, 1)
        assert found.relative == pytest.approx(1.0, rel=1e-6)
        b.joint(2).weight.zero_()  # targets that never vary: nothing is left to miss
        b.joint(2).bias.fill_(0.1)
        for layer in (graft(a, b, X, 1), graft(net(3), b, X, 1)):
            assert layer.relative == 0
            assert layer.loss < 1e-12
        one = graft(net(3), net(4), X[:1], 1)  # one image varies in nothing
        assert one.relative == 0


def test_nothing_of_the_callers_is_changed():
    a = nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(3, 2))
    b = copy.deepcopy(a)
    a.train()
    x, state = X.clone().requires_grad_(), torch.get_rng_state()
    before = [copy.deepcopy(n.state_dict()) for n in (a, b)]
    graft(a, b, x, 1)
    graft_trained(a, b, x.detach(), 1, FEW, generator=3)
    graft_fresh(a, b, x.detach(), 1, generator=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, X)
    assert x.grad is None
    assert a.training
    assert all(m.training for m in a.modules())
    for n, s in zip((a, b), before, strict=True):
        assert all(torch.equal(v, s[k]) for k, v in n.state_dict().items())
        assert all(p.grad is None and p.requires_grad for p in n.parameters())


def test_channels_with_numbers_of_their_own_stay_with_their_net():
    """BatchNorm and PReLU belong to whole layers of one net, so a graft takes them along."""
    torch.manual_seed(0)

    def norm():
        act = nn.Sequential(nn.BatchNorm1d(5), nn.PReLU(5))
        made = Chain([nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 3)], [act, copy.deepcopy(act)])
        [nn.init.uniform_(p, 0.2, 1) for p in made.activations.parameters()]
        made(normal(64, 4) * 2 + 1)
        return made.eval()

    one, x = norm(), normal(64, 4)
    for result in graft_layers(one, one, x, products=torch.float64):
        assert result.relative < 1e-9
        torch.testing.assert_close(result.net(x), one(x), rtol=1e-3, atol=1e-4)


def test_nets_with_hooks_or_a_forward_of_their_own_are_refused():
    class Odd(Chain):
        def forward(self, x):
            return super().forward(x) + 1

    a, b = net(1), net(2)
    odd = Odd(list(a.joints), list(a.activations))
    with pytest.raises(TypeError, match="forward of its own"):
        graft(odd, b, X, 1)
    b.joint(1).register_forward_hook(lambda *args: None)
    with pytest.raises(TypeError, match="hook"):
        graft(a, b, X, 1)
