"""Nets, data and settings of other people: the right value, or a refusal by name."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lib.graft import JointTraining, graft, graft_fresh, graft_layers
from lib.joint import Geometry, NormalEquations, solve
from lib.merge import fold_batchnorm
from lib.mixture import MixtureOptions, loss_curve, mix, mixtures, refit_top, weight_path
from lib.nets import MLP, VGG, Chain, cross_entropy, forward, init, initialise, risk
from lib.symmetry import aligned_distance, orbit_distance, permute, rebasin, rescale
from lib.train.sgd import Recipe, evaluate, penalty, to_images, train
from lib.width import merge_channel, split_channel


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


X, Y = normal(64, 4), torch.arange(64) % 3
LOADER = DataLoader(TensorDataset(X, Y), batch_size=7)
NEXT = [1, 2, 3, 0]
SMALL = {"width": 1 / 32, "side": 4, "pools": 2, "hidden": 8}


def net(seed=1, widths=(4, 4, 4, 3), act=nn.ReLU):
    """A chain of dense layers, its numbers drawn without the global stream."""
    joints = [nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False)]
    made = Chain(joints, [act() for _ in joints[1:]])
    draws = torch.Generator().manual_seed(seed)
    for p in made.parameters():
        nn.init.uniform_(p, -1, 1, generator=draws)
    return made.eval()


def flat(*modules):
    made = nn.Sequential(*modules)
    for p in made.parameters():
        nn.init.uniform_(p, -1, 1, generator=torch.Generator().manual_seed(p.numel()))
    return made.eval()


class Random(nn.Module):
    """Dropout that heeds no mode."""

    def forward(self, x):
        return nn.functional.dropout(x, 0.5, True)


class Twice(Chain):
    def feature(self, layer, g):
        return super().feature(layer, g) * 2


NORM = nn.BatchNorm1d(4, affine=False)


def unusual(what):
    """A net with one unusual thing about it."""
    made = flat(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    if what == "buffers":  # one normalisation behind two layers
        return flat(nn.Linear(4, 4), NORM, nn.Linear(4, 4), NORM, nn.Linear(4, 3))
    if what == "tensor":
        weight = made[0].weight
        del made[0].weight
        made[0].weight = weight * 2
    elif what == "complex":
        made.to(torch.complex64)
    elif what == "inference":
        with torch.inference_mode():
            made = flat(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    elif what == "feature":
        made = Twice([nn.Linear(4, 4), nn.Linear(4, 3)], [nn.ReLU()])
    return made


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("buffers", "no two modules share"),
        ("tensor", "is no nn.Parameter"),
        ("complex", "ordinary floating tensor"),
        ("inference", "of inference mode"),
        ("feature", "Twice has a feature of its own"),
    ],
)
@pytest.mark.filterwarnings("ignore:Complex modules")
def test_the_door_is_shut_for_every_operator(what, words):
    odd, other = unusual(what), flat(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    for call in (
        lambda: permute(odd, {1: NEXT}),
        lambda: rebasin(other, odd),
        lambda: aligned_distance(odd, other, 1),
        lambda: fold_batchnorm(odd),
        lambda: graft(odd, other, X, 1),
        lambda: graft(other, odd, X, 1),
        lambda: weight_path(odd, odd, X, Y, gammas=3),
        lambda: mix(odd, odd, X, 0.5, generator=0),
        lambda: refit_top(odd, X, Y),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            call()


@pytest.mark.parametrize(
    "between",
    [
        (nn.MaxPool2d(3, 1, 1),),
        (nn.AvgPool2d(3, 1, 1),),
        (nn.AdaptiveAvgPool2d(4),),
        (nn.BatchNorm2d(4),),
        (nn.Flatten(), nn.MaxPool2d(1)),
    ],
)
def test_maps_of_images_behind_dense_layers_are_refused(between):
    """They act on other axes than the layer, and copies of a neuron do not stay copies."""
    with pytest.raises(TypeError, match="what a Linear or Flatten makes is"):
        permute(flat(nn.Linear(4, 4), *between, nn.Linear(4, 2)), {1: NEXT})


def test_nets_that_do_not_treat_samples_alone_are_refused():
    batchwise = Chain(
        [nn.Linear(4, 4), nn.Linear(4, 3)], [nn.BatchNorm1d(4, track_running_stats=False)]
    )
    random = Chain([nn.Linear(4, 4), nn.Linear(4, 3)], [Random()])
    mixing = Chain([nn.Linear(4, 4), nn.Linear(4, 3)], [nn.Softmax(0)])
    ok = net(2, (4, 4, 3))
    for odd, words in (
        (batchwise, "keeps no running statistics"),
        (random, "draws random numbers"),
        (mixing, "the first sample alone"),
    ):
        for call in (
            lambda: graft(odd, ok, X, 1),  # noqa: B023
            lambda: weight_path(odd, odd, X, Y, gammas=3),  # noqa: B023
            lambda: loss_curve([ok, odd], X, Y, [0, 1]),  # noqa: B023
            lambda: refit_top(odd, X, Y),  # noqa: B023
            lambda: evaluate(odd, X, Y),  # noqa: B023
        ):
            with pytest.raises(ValueError, match=words):
                call()
    with pytest.raises(ValueError, match="draws random numbers"):
        mix(random, random, X, 0.5, generator=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64])
def test_data_of_another_dtype_is_refused_by_name(dtype):
    a, x = net(), (X * 3).to(dtype)
    for call in (
        lambda: graft(a, a, x, 1),
        lambda: graft_fresh(a, a, x, 1, generator=0),
        lambda: weight_path(a, a, x, Y, gammas=3),
        lambda: evaluate(a, x, Y),
        lambda: forward(init((4, 3), generator=0).to(torch.float32), x),
    ):
        with pytest.raises(TypeError, match="expected torch.float32, the dtype of the net"):
            call()


def test_sequences_of_vectors_are_refused_by_a_graft():
    with pytest.raises(ValueError, match="features of net 1 have shape"):
        graft(net(), net(2), normal(5, 6, 4), 1)


# modes and streams


@pytest.mark.parametrize("labels", [Y + 5, Y.float(), Y[:5]])
def test_modes_come_back_after_an_error(labels):
    made = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 3))
    made[1].eval()
    with pytest.raises((TypeError, ValueError)):
        evaluate(made, X, labels)
    assert [m.training for m in made.modules()] == [True, True, False, True, True]


def test_making_a_vgg_draws_nothing():
    before = torch.get_rng_state()
    made = VGG(**SMALL)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(not p.any() for p in made.parameters())


# finite or refused


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_weights_that_are_not_finite(wrong, name):
    a, b = net(), net(2)
    with torch.no_grad():
        getattr(b.joint(2), name)[0] = wrong
    m = init((2, 3, 1), generator=0)
    broken = m.map(lambda p: torch.full_like(p, wrong))
    calls = [
        lambda: rebasin(a, b),
        lambda: evaluate(b, X, Y),
        lambda: loss_curve([b], X, Y, [0.0]),
        lambda: orbit_distance(broken, m),
    ]
    calls += [lambda: aligned_distance(a, b, 2)] if name == "weight" else []
    for call in calls:
        with pytest.raises(ValueError, match="NaN or infinite"):
            call()


@pytest.mark.parametrize(
    "settings",
    [
        lambda: Recipe(lr=math.inf),
        lambda: Recipe(weight=math.inf),
        lambda: Recipe(decay=math.nan),
        lambda: Recipe(epochs=2.5),
        lambda: Recipe(batch=0),
        lambda: Recipe(pad=-1),
        lambda: JointTraining(lr=math.inf),
        lambda: JointTraining(steps=1.5),
        lambda: MixtureOptions(batch=2.5),
        lambda: MixtureOptions(ridge=math.inf),
        lambda: VGG(width=math.inf),
        lambda: init((2, 3, 1), std=math.inf, generator=0),
        lambda: init((2, 3.0, 1), generator=0),
        lambda: init((2, 3, 1), generator=1.5),
        lambda: mixtures([net(), net()], X, [], generator=0),
        lambda: mixtures([net(), net()], X, [(1.0,)], generator=0),
        lambda: mix(net(), net(), X, math.nan, generator=0),
        lambda: permute(net(), {1: [0.5, 1, 2, 3]}),
        lambda: permute(net(), {True: NEXT}),
        lambda: rebasin(net(), net(2, (4, 4, 4, 4, 3))),
        lambda: rebasin(net(2, (4, 4, 4, 4, 3)), net()),
        lambda: net().preactivations(X, 0),
        lambda: penalty(nn.Sequential(nn.Linear(2, 2))),
        lambda: risk(init((2, 1), generator=0), torch.zeros(0, 2).double(), torch.zeros(0, 1)),
        lambda: cross_entropy(torch.zeros(2, 2), torch.tensor([0, 2])),
        lambda: cross_entropy(torch.zeros(2, 2), torch.tensor([0, -1])),
        lambda: loss_curve([net()], X, Y, [0.5]).excess,
        lambda: loss_curve([net(), net()], X, Y, [0.5, 0.5]).excess,
        lambda: rescale(init((2, 3, 1), "relu", generator=0).to(torch.float32), 1, 0, 3e38),
        lambda: rescale(init((2, 3, 1), "relu", generator=0).to(torch.float16), 1, 0, 1e-7),
        lambda: train([net()], torch.zeros(8, 3, 4, 4), torch.arange(8), Recipe(batch=4)),
        lambda: train([VGG(**SMALL)], torch.zeros(8, 3, 8, 8), torch.arange(8), Recipe(batch=4)),
        lambda: train([VGG(**SMALL)], torch.zeros(8, 1, 4, 4), torch.arange(8), Recipe(batch=4)),
        lambda: to_images(np.full((4, 8, 8), 0.1), 8),
        lambda: to_images(np.full((5, 7, 7), 1234.567), 7),
        lambda: to_images(np.where(np.eye(8) > 0, np.nan, 1.0)[None], 8),
        lambda: evaluate(net(), LOADER, Y),
        lambda: evaluate(net(), X),
        lambda: evaluate(net(), []),
        lambda: evaluate(net(), DataLoader(X, batch_size=3)),
        lambda: refit_top(net(), DataLoader(X, batch_size=3)),
        lambda: weight_path(net(), net(2), LOADER, Y),
    ],
)
def test_settings_outside_their_range(settings):
    with pytest.raises(
        (TypeError, ValueError), match="expected|needs|has no|constant|batch|outside"
    ):
        settings()


# right values at every size


@pytest.mark.parametrize("size", [1e-200, 1e-30, 1e30, 1e200])
def test_distances_of_weights_do_not_depend_on_their_size(size):
    a, b = net().double(), net(2).double()
    distance, matched = aligned_distance(a, b, 2).distance, rebasin(a, b)
    one, other = init((2, 3, 1), generator=0), init((2, 3, 1), generator=1)
    apart = orbit_distance(one, other)
    with torch.no_grad():
        for p in (*a.parameters(), *b.parameters(), *matched.parameters()):
            p *= size
    assert aligned_distance(a, b, 2).distance == pytest.approx(distance, rel=1e-12)
    for p, q in zip(rebasin(a, b).parameters(), matched.parameters(), strict=True):
        assert torch.equal(p, q)
    grown = (n.map(lambda p: p * size) for n in (one, other))
    assert orbit_distance(*grown) == pytest.approx(apart * size, rel=1e-12)


def test_weights_that_are_zero_in_both_nets_are_equal():
    a, b = net(), net(2)
    for made in (a, b):
        nn.init.zeros_(made.joint(1).weight)
    assert aligned_distance(a, b, 1).distance == (0.0,)


@pytest.mark.parametrize("shift", [1e3, 1e4])
def test_batches_of_different_size_of_numbers(shift):
    """Products of each batch are taken in the precision that it needs, whatever the first was."""
    made = net(act=nn.Identity)
    first = torch.cat([X[:8], X[8:] + shift])
    assert graft(made, made, first.split(8), 1).relative < 1e-3
    for joint in made.joints:
        nn.init.zeros_(joint.bias)
    huge = torch.cat([X[:8], X[8:] * 1e20])
    assert graft(made, made, huge.split(8), 1).relative < 1e-6


def test_a_joint_that_misses_constant_targets_is_no_perfect_match():
    other = net(2)
    nn.init.zeros_(other.joint(2).weight)
    assert graft_fresh(net(), other, X, 1, generator=0).relative == math.inf


def test_rescaling_is_kept_up_to_the_end_of_the_range():
    m = init((2, 3, 1), "relu", generator=0)
    for factor in (1e-100, 1e100):
        grown = rescale(m, 1, 0, factor)
        torch.testing.assert_close(forward(grown, X[:, :2].double()), forward(m, X[:, :2].double()))


def test_mixtures_of_double_precision_are_exact():
    a, b = net().double(), net(2).double()
    balanced = MixtureOptions(width=1.0, scheme="balanced")
    for gamma, end in ((1.0, a), (0.0, b)):
        found = mix(a, b, X.double(), gamma, balanced, generator=0).net
        torch.testing.assert_close(found(X.double()), end(X.double()), rtol=1e-8, atol=1e-9)


def test_sums_of_a_joint_keep_no_graph():
    found = NormalEquations(Geometry(4, 2, linear=True))
    found.add(X.clone().requires_grad_(), X[:, :2])
    assert not solve(found).weight.requires_grad


# numpy, and data in batches


def test_numbers_of_numpy_are_numbers():
    options = MixtureOptions(ridge=np.float32(1e-3))
    a, b = net(), net(2)
    wanted = mix(a, b, X, 0.25, options, generator=3)
    for gamma in (np.float32(0.25), np.float64(0.25), torch.tensor(0.25)):
        found = mix(a, b, X, gamma, options, generator=np.int64(3))
        assert found.shares == wanted.shares == (0.25, 0.75)
        assert torch.equal(found.net(X), wanted.net(X))
    third = np.array([[0.3, 0.7]], dtype=np.float32)
    assert len(mixtures([a, b], X, third, options, generator=0)) == 1
    layers = graft_layers(a, b, X, np.array([1, 2]), batch=np.int64(7), ridge=np.float32(0))
    assert [type(g.layer) for g in layers] == [int, int]
    made = init(np.array([2, 3, 1]), std=np.float32(1), generator=np.int64(3))
    assert torch.equal(made.weights[0], init((2, 3, 1), generator=3).weights[0])
    assert evaluate(a, X, Y, batch=np.int64(9)).images == 64
    orders = [np.roll(np.arange(4), -1), torch.tensor(NEXT)]
    assert torch.allclose(permute(a, orders)(X), a(X), atol=1e-6)


def test_loaders_are_data():
    a, b = net(), net(2)
    path, curve = weight_path(a, b, X, Y, gammas=3), loss_curve([a, b], X, Y, [0, 1])
    top, score = refit_top(a, X, Y), evaluate(a, X, Y)
    options = MixtureOptions(ridge=1e-3)
    mixed = mix(a, b, X, 0.5, options, generator=0)
    for data in (LOADER, list(zip(X.split(9), Y.split(9), strict=True))):
        assert torch.allclose(weight_path(a, b, data, gammas=3).losses, path.losses)
        assert torch.allclose(loss_curve([a, b], data, None, [0, 1]).losses, curve.losses)
        assert torch.allclose(refit_top(a, data)(X), top(X))
        assert evaluate(a, data).cross_entropy == pytest.approx(score.cross_entropy)
        assert torch.equal(mix(a, b, data, 0.5, options, generator=0).net(X), mixed.net(X))
    assert evaluate(a, LOADER).images == 64


def test_frozen_vgg_and_float_labels():
    made = initialise(VGG(**SMALL), generator=0)
    with pytest.raises(TypeError, match="class indices"):
        train([made], torch.zeros(8, 3, 4, 4), torch.arange(8).float(), Recipe(batch=4))


def test_nets_that_need_gradients_have_distances():
    m = init((2, 3, 1), generator=0).map(lambda p: p.requires_grad_())
    assert orbit_distance(m, m) == 0
    half = m.to(torch.bfloat16)
    assert orbit_distance(half, half) == 0
    assert isinstance(half, MLP)


@pytest.mark.parametrize("between", [nn.BatchNorm1d(4), nn.PReLU(4)])
def test_a_permutation_is_measured_on_request(between):
    """BatchNorm and PReLU act on axis 1, a dense layer on the last: which one only x tells."""
    made = flat(nn.Linear(4, 4), between, nn.ReLU(), nn.Linear(4, 2))
    assert torch.allclose(permute(made, {1: NEXT}, x=X)(X), made(X), atol=1e-6)
    wide = split_channel(made, 1, 0, 0.3, x=X)
    merge_channel(wide, 1, 0, x=X)
    with pytest.raises(ValueError, match="the outputs changed by"):
        permute(made, {1: NEXT}, x=normal(5, 4, 4))
    with pytest.raises(ValueError, match="the outputs changed by"):
        rebasin(
            flat(nn.Linear(4, 4), nn.PReLU(4), nn.Linear(4, 2)), made_other(), x=normal(5, 4, 4)
        )


def test_a_fold_is_measured_on_request():
    """Here BatchNorm acts on rows, where folding takes it to act on columns."""
    made = flat(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    made.train()(X * 2 + 1)
    assert torch.allclose(fold_batchnorm(made.eval(), x=X)(X), made(X), atol=1e-5)
    with pytest.raises(ValueError, match="the outputs changed by"):
        fold_batchnorm(made, x=normal(5, 4, 4))


def made_other():
    made = flat(nn.Linear(4, 4), nn.PReLU(4), nn.Linear(4, 2))
    with torch.no_grad():
        made[0].weight.copy_(made[0].weight[NEXT])
    return made
