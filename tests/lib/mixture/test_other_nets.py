"""Mixtures and weight paths of unusual nets and data: right, or refused in words."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from lib.mixture import (
    MixtureOptions,
    barrier,
    hybrid,
    loss_curve,
    mix,
    refit_top,
    weight_path,
)
from lib.nets import Chain
from lib.train.sgd import evaluate

BALANCED = MixtureOptions(width=1.0, scheme="balanced")


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def net(seed, act):
    torch.manual_seed(seed)
    made = Chain([nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)], [act(4), act(4)])
    [nn.init.uniform_(p, -1, 1) for p in made.activations.parameters()]
    made(torch.randn(64, 4) * 2 + 1)
    return made.eval()


def norm(m):
    return nn.Sequential(nn.BatchNorm1d(m), nn.ReLU())


X, Y = normal(64, 4), torch.arange(64) % 3
KINDS = [
    norm,
    nn.PReLU,
    lambda m: nn.PReLU(),
    nn.LayerNorm,
    lambda m: nn.BatchNorm1d(m, affine=False),
    lambda m: nn.BatchNorm1d(m, track_running_stats=False),
]


@pytest.mark.parametrize("act", KINDS)
@pytest.mark.parametrize("width", [1.0, 2.0])
def test_mixtures_refuse_numbers_that_belong_to_channels(act, width):
    with pytest.raises((ValueError, TypeError), match="BatchNorm1d|PReLU|LayerNorm"):
        mix(net(1, act), net(2, act), X, 0.5, MixtureOptions(width=width), generator=0)


def test_an_end_that_is_not_the_net_is_an_error(monkeypatch):
    monkeypatch.setattr(hybrid, "_check_nets", lambda nets: None)  # lets slopes of channels through
    with pytest.raises(ValueError, match="has all channels of one net, but other outputs"):
        mix(net(1, nn.PReLU), net(2, nn.PReLU), X, 0.0, BALANCED, generator=0)


@pytest.mark.parametrize("act", [nn.PReLU, lambda m: nn.PReLU(), nn.LayerNorm, lambda m: nn.ReLU()])
def test_weight_paths_take_all_parameters_along(act):
    a, b = net(1, act), net(2, act)
    found = weight_path(a, b, X, Y, gammas=3)
    for place, end in ((0, b), (-1, a)):
        assert found.cross_entropy[place] == pytest.approx(
            evaluate(end, X, Y).cross_entropy, rel=1e-6
        )


@pytest.mark.parametrize("act", [norm, lambda m: nn.BatchNorm1d(m, affine=False)])
def test_weight_paths_refuse_statistics_that_differ(act):
    a, b = net(1, act), net(2, act)
    with pytest.raises(ValueError, match="running_mean, which is not a parameter: fold BatchNorm"):
        weight_path(a, b, X, Y, gammas=3)
    assert len(weight_path(a, copy.deepcopy(a), X, Y, gammas=3).gammas) == 3


def test_weight_paths_refuse_another_architecture():
    a = net(1, lambda m: nn.ReLU())
    for other in (nn.Tanh, lambda: nn.LeakyReLU(0.1), lambda: nn.Sequential(nn.ReLU(), nn.Tanh())):
        b = Chain(list(a.joints), [other(), other()])
        with pytest.raises(ValueError, match="differ in kernels or activations"):
            weight_path(a, b, X, Y, gammas=3)
    strided = [Chain([nn.Conv2d(1, 2, 3, stride=s), nn.Flatten()], [nn.ReLU()]) for s in (1, 2)]
    with pytest.raises((ValueError, TypeError)):
        weight_path(*strided, normal(4, 1, 3, 3), Y[:4], gammas=3)


class Scaled(nn.Module):
    """An activation whose number is neither a parameter nor a buffer, nor seen in its repr."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return self.scale * x.relu()


def test_the_ends_of_a_weight_path_are_measured():
    a, b = (Chain([nn.Linear(4, 4), nn.Linear(4, 3)], [Scaled(s)]) for s in (1.0, 2.0))
    with pytest.raises((ValueError, TypeError), match="from the net that it should be|Scaled"):
        weight_path(a, b, X, Y, gammas=3)


@pytest.mark.parametrize(
    "gammas",
    [
        np.linspace(0, 1, 3),
        [0.0, 0.5, 1.0],
        (0, 0.5, 1),
        torch.linspace(0, 1, 3),
        3,
        np.int64(3),
        np.linspace(0, 1, 3, dtype=np.float32),
    ],
)
def test_gammas_of_every_kind(gammas):
    a, b = net(1, lambda m: nn.ReLU()), net(2, lambda m: nn.ReLU())
    assert weight_path(a, b, X, Y, gammas=gammas).gammas.tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("gammas", [0, [], [[0.0]], [0.0, math.nan], [math.inf]])
def test_gammas_that_are_none_are_refused(gammas):
    a = net(1, lambda m: nn.ReLU())
    with pytest.raises(ValueError, match="gammas"):
        weight_path(a, a, X, Y, gammas=gammas)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_precisions(dtype):
    a, b = net(1, lambda m: nn.ReLU()), net(2, lambda m: nn.ReLU())
    exact = weight_path(a, b, X, Y, gammas=3)
    found = weight_path(a.to(dtype), b.to(dtype), X.to(dtype), Y, gammas=3)
    tolerance = 8 * torch.finfo(dtype if dtype != torch.float64 else torch.float32).eps
    assert torch.allclose(found.overall, exact.overall, rtol=tolerance, atol=tolerance)


def test_integers_in_a_barrier():
    assert barrier(torch.arange(3), torch.tensor([1, 3, 2])).height == 1.5
    assert barrier(np.arange(3), np.array([1.0, 3.0, 2.0])).height == 1.5
    assert barrier([0, 1, 2], [1, 3, 2]).height == 1.5
    with pytest.raises(ValueError, match="NaN or infinite"):
        barrier(torch.arange(3), torch.tensor([1.0, math.nan, 2.0]))


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (X.clone().fill_(math.nan), Y, "NaN or infinite"),
        (X, torch.full((64,), 3), "labels run from 0 to 3|labels run from 3 to 3"),
        (X, Y - 1, "smallest class in y is -1"),
        (X, Y.float(), "int64"),
        (X[:0], Y[:0], "n >= 1"),
        (X, Y[:5], "64 samples and targets"),
    ],
)
def test_samples_that_are_none_are_refused(x, y, words):
    a = net(1, lambda m: nn.ReLU())
    for call in (
        lambda: weight_path(a, a, x, y, gammas=3),
        lambda: loss_curve([a], x, y, [0.0]),
        lambda: refit_top(a, x, y),
        lambda: mix(a, a, x, 0.5, BALANCED, generator=0, y=y),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            call()


def test_in_place_activations_and_sequentials_mix_as_others_do():
    def made(inplace):
        torch.manual_seed(1)
        layers = (
            nn.Linear(4, 6),
            nn.ReLU(inplace),
            nn.Linear(6, 6),
            nn.ReLU(inplace),
            nn.Linear(6, 3),
        )
        return nn.Sequential(*layers)

    other = net(2, lambda m: nn.ReLU())
    torch.manual_seed(3)
    second = Chain([nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)], [nn.ReLU(), nn.ReLU()])
    found = []
    for inplace in (False, True):
        first, x = made(inplace), X.clone()
        pair = (first, copy.deepcopy(first))
        nn.init.normal_(pair[1][0].weight, generator=torch.Generator().manual_seed(0))
        curve = weight_path(*pair, x, Y, gammas=3).overall
        mixed = mix(*pair, x, 0.5, MixtureOptions(ridge=1e-3), generator=0, y=Y).net(x)
        assert torch.equal(x, X)
        found.append((curve, mixed))
    assert torch.allclose(found[0][0], found[1][0])
    assert torch.allclose(found[0][1], found[1][1], atol=1e-4)
    assert other.depth == second.depth


def test_redrawn_channels_differ_from_nested_ones_and_keep_the_counts():
    torch.manual_seed(0)
    pair = [Chain([nn.Linear(4, 40), nn.Linear(40, 3)], [nn.Tanh()]) for _ in range(2)]
    from lib.mixture import mixtures

    shares = [(0.25, 0.75), (0.5, 0.5)]
    sources = {}
    for redraw in (False, True):
        made = mixtures(pair, X, shares, MixtureOptions(redraw=redraw, ridge=0.01), generator=0)
        sources[redraw] = [set(m.sources[0].tolist()) for m in made]
        counts = [int((m.sources[0] < 40).sum()) for m in made]
        assert counts == [20, 40]
    first_net = [{s for s in found if s < 40} for found in sources[False]]
    assert first_net[0] <= first_net[1]  # prefixes of one draw
    anew = [{s for s in found if s < 40} for found in sources[True]]
    assert not anew[0] <= anew[1]


def test_nothing_of_the_callers_is_changed():
    a, b = net(1, lambda m: nn.ReLU(inplace=True)), net(2, lambda m: nn.ReLU(inplace=True))
    a.train()
    x, state = X.clone().requires_grad_(), torch.get_rng_state()
    before = [copy.deepcopy(n.state_dict()) for n in (a, b)]
    weight_path(a, b, x, Y, gammas=3)
    mix(a, b, x, 0.5, MixtureOptions(ridge=0.01), generator=0, y=Y)
    refit_top(a, x, Y)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, X)
    assert x.grad is None
    assert a.training
    for n, s in zip((a, b), before, strict=True):
        assert all(torch.equal(v, s[k]) for k, v in n.state_dict().items())
