"""lib.mixture: mixtures in feature-distribution space, against dense least squares and against what
theory demands."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from experiments.layer_training import LayerTraining
from lib.joint import Geometry, solve
from lib.joint.dual import fit_dual
from lib.joint.fit import blocks, equations, fit_features, fit_joint, restrict, with_targets
from lib.mixture import MixtureOptions, mix, mixtures, refit_top
from lib.mixture.channels import candidates, chosen, counts
from lib.nets import VGG, Chain, initialise
from lib.train.sgd.regulariser import l12

F32 = 2e-4  # outputs of nets in float32 whose weights came from a least-squares problem with condition up to 1e6  # noqa: E501


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(seed: int, widths: tuple[int, int, int] = (4, 5, 6), stride: int = 1) -> Chain:
    """conv - conv - pool - fully connected - fully connected, on 2 x 6 x 6 images."""
    torch.manual_seed(seed)
    a, b, c = widths
    side = 3 if stride == 1 else 1
    joints = [
        nn.Conv2d(2, a, 3, padding=1),
        nn.Conv2d(a, b, 3, padding=1, stride=stride),
        nn.Linear(b * side * side, c),
        nn.Linear(c, 3),
    ]
    flat = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5))
    return Chain(joints, [nn.ReLU(), flat, nn.ReLU()]).eval()


def images(n: int = 40, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 2, 6, 6, generator=draw(seed))


# draws


def test_counts_floor_and_sum() -> None:
    assert counts((0.3, 0.7), 10) == (3, 7)
    assert counts((0.35, 0.65), 10) == (3, 7)
    assert counts((0.2, 0.2, 0.6), 9) == (1, 1, 7)
    assert counts((1.0, 0.0), 4) == (4, 0)


def test_draws_are_seeded_nested_and_balanced() -> None:
    lists = candidates((6, 6), 12, "balanced", draw(0))
    assert all(torch.equal(a.bincount(), torch.full((6,), 2)) for a in lists)
    again = candidates((6, 6), 12, "balanced", draw(0))
    assert all(torch.equal(a, b) for a, b in zip(lists, again, strict=True))
    few, more = (chosen(lists, (6, 6), (g, 1 - g)) for g in (0.25, 0.5))
    assert torch.equal(
        few[:3], more[:3]
    )  # the channels of net 1 at gamma = 1/4 are among those at 1/2
    assert set(more[6:].tolist()) <= set(range(6, 12))
    drawn = candidates((1000,), 100_000, "replacement", draw(1))[0]
    # each of 1000 channels is drawn Binomial(1e5, 1e-3) times: mean 100, standard deviation 10; 6
    # sigma
    assert (drawn.bincount(minlength=1000) - 100).abs().max() < 60


# fits from moments


def test_fit_by_a_part_follows_from_the_moments_of_all() -> None:
    """Against numpy's lstsq on the unfolded patches of the part, for a padded convolution."""
    joint = nn.Conv2d(3, 4, 3, padding=1).double()
    x = torch.randn(7, 3, 6, 5, generator=draw(2), dtype=torch.float64)
    t = joint(x).detach().flatten(2).transpose(1, 2).reshape(-1, 4)
    known = equations(Geometry.of(joint), list(x.split(3)))
    weight, bias = joint.weight.detach().flatten(1), joint.bias.detach()
    part = torch.tensor([0, 2])
    known = with_targets(known, weight, bias)
    fit = solve(restrict(known, blocks(part, 9), torch.arange(4)))
    u = nn.functional.unfold(x[:, part], 3, padding=1).transpose(1, 2).reshape(-1, 18)
    u = torch.cat([u, torch.ones(len(u), 1, dtype=torch.float64)], 1)
    expected, residual, *_ = np.linalg.lstsq(u.numpy(), t.numpy(), rcond=None)
    assert np.allclose(torch.cat([fit.weight, fit.bias[:, None]], 1).numpy().T, expected, atol=1e-9)
    assert fit.loss == pytest.approx(residual.sum() / t.numel(), rel=1e-9)
    assert fit.variance == pytest.approx(float(t.var(0, correction=0).mean()), rel=1e-9)
    direct = solve(equations(Geometry.of(joint), [x[:, part]], [joint(x).detach()]))
    assert torch.allclose(fit.weight, direct.weight, atol=1e-9)
    everything = solve(restrict(known, torch.arange(27), torch.arange(4)))
    assert torch.allclose(everything.weight, weight, atol=1e-9)
    assert blocks(torch.tensor([2, 0]), 3).tolist() == [6, 7, 8, 0, 1, 2]


def test_penalised_fit_is_ridge_regression_on_the_weights_themselves() -> None:
    """Against scikit-learn's Ridge: penalty ridge * mean input variance * n on the squared weights,
    free bias."""
    from sklearn.linear_model import Ridge

    scale = torch.tensor([1.0, 1e-3, 5.0], dtype=torch.float64)
    x = 3 + scale * torch.randn(50, 3, generator=draw(3), dtype=torch.float64)
    t = torch.randn(50, 2, generator=draw(4), dtype=torch.float64)
    found = fit_joint(equations(Geometry.of(nn.Linear(3, 2)), [x], [t]), 0.02)
    expected = Ridge(alpha=0.02 * 50 * float(x.var(0, correction=0).mean()), tol=1e-12).fit(
        x.numpy(), t.numpy()
    )
    assert np.allclose(found.weight.numpy(), expected.coef_, rtol=1e-8, atol=1e-12)
    assert np.allclose(found.bias.numpy(), expected.intercept_, rtol=1e-8)
    error = float(np.square(expected.predict(x.numpy()) - t.numpy()).mean())
    assert found.loss == pytest.approx(error, rel=1e-9)
    assert found.variance == pytest.approx(float(t.var(0, correction=0).mean()), rel=1e-9)
    silent = torch.ones(
        50, 1, dtype=torch.float64
    )  # an input that never varies leaves nothing to factorise
    assert fit_joint(
        equations(Geometry.of(nn.Linear(1, 2)), [silent], [t]), 0.02
    ).loss == pytest.approx(found.variance, rel=1e-9)


@pytest.mark.parametrize(
    ("joint", "size"),
    [
        (nn.Conv2d(40, 3, 3, padding=1), (2, 2)),
        (nn.Conv2d(30, 2, 3, padding=1), (1, 1)),
        (nn.Conv2d(37, 4, 3), (4, 5)),
        (nn.Conv2d(37, 4, (3, 2), padding=(2, 0), stride=(2, 1)), (3, 4)),
        (nn.Conv2d(33, 2, 3, padding=2, dilation=2), (3, 1)),
        (nn.Linear(50, 6), ()),
    ],
)
@pytest.mark.parametrize("ridge", [1e-5, 0.01, 1e3])
def test_fit_by_samples_is_ridge_regression_as_by_unknowns(
    joint: nn.Module, size: tuple[int, ...], ridge: float
) -> None:
    """Fewer samples than unknowns, against numpy's lstsq on patches with the penalty as further
    rows."""
    channels = joint.weight.shape[1]
    scale = torch.logspace(-1, 1, channels, dtype=torch.float64).reshape(-1, *(1,) * len(size))
    x = scale * (3 + torch.randn(3, channels, *size, generator=draw(5), dtype=torch.float64))
    with torch.no_grad():
        shape = joint.double()(x).shape
    t = 2 + torch.randn(shape, generator=draw(6), dtype=torch.float64)
    u = x
    if size:
        u = nn.functional.unfold(
            x, joint.kernel_size, joint.dilation, joint.padding, joint.stride
        ).mT.flatten(0, 1)
    rows = t.flatten(2).mT.flatten(0, 1) if size else t
    centred = u - u.mean(0)
    pull = np.sqrt(ridge * len(u) * float(centred.square().mean()))
    system = np.concatenate([centred, pull * np.eye(u.shape[1])])
    right = np.concatenate([rows - rows.mean(0), np.zeros((u.shape[1], rows.shape[1]))])
    weight = np.linalg.lstsq(system, right, rcond=None)[0].T
    error = float(np.square(right - system @ weight.T)[: len(u)].mean())
    by_unknowns = fit_joint(
        equations(Geometry.of(joint), [x], [t]), ridge
    )  # whose matrix has a condition of about 1 / ridge
    for found, tolerance in (
        (fit_dual(Geometry.of(joint), x, t, ridge), 1e-10),
        (by_unknowns, 1e-11 * (1 + 1 / ridge)),
    ):
        assert np.abs(found.weight.numpy() - weight).max() <= tolerance * np.abs(weight).max()
        assert torch.allclose(found.bias, rows.mean(0) - found.weight @ u.mean(0), atol=1e-12)
        assert found.loss == pytest.approx(error, rel=1e-6, abs=1e-14)
        assert found.variance == pytest.approx(float(rows.var(0, correction=0).mean()), rel=1e-12)
    parts = fit_features(Geometry.of(joint), x.split(2), t.split(2), ridge)
    assert torch.equal(
        parts.weight, fit_dual(Geometry.of(joint), x, t, ridge).weight
    )  # it takes the smaller matrix


def test_fit_by_samples_of_constant_inputs_is_the_mean() -> None:
    t = torch.randn(4, 2, generator=draw(7), dtype=torch.float64)
    found = fit_dual(Geometry.of(nn.Linear(9, 2)), torch.full((4, 9), 0.1), t, 0.01)
    assert found.weight.abs().max() == 0
    assert torch.equal(found.bias, t.mean(0))
    assert found.loss == found.variance
    assert found.constant == 9


def test_fit_by_samples_needs_a_ridge_and_no_groups() -> None:
    x = torch.randn(2, 8, 2, 2, generator=draw(8))
    with pytest.raises(ValueError, match="ridge is 0: expected > 0"):
        fit_dual(Geometry.of(nn.Conv2d(8, 2, 1)), x, x[:, :2], 0)
    with pytest.raises(ValueError, match="2 groups: expected 1"):
        fit_dual(Geometry.of(nn.Conv2d(8, 2, 1, groups=2)), x, x[:, :2], 0.1)


def test_a_penalty_keeps_the_weights_of_a_mixture_small() -> None:
    """Channels of size 1e-5 that could explain what is missing: with a penalty on weights they are
    left alone."""
    nets, x = [small(s) for s in (0, 1)], images(200)
    with torch.no_grad():
        for p in nets[0].joint(1).parameters():
            p *= 1e-5
    free, held = (
        mix(*nets, x, 0.5, MixtureOptions(width=1, ridge=r), generator=0).net for r in (0.0, 1e-3)
    )
    sizes = [
        max(float(j.weight.detach().abs().max()) for j in net.joints[1:]) for net in (free, held)
    ]
    assert sizes[0] > 1e3
    assert sizes[1] < 10


# mixtures


@pytest.mark.parametrize("inputs", ["own", "teacher"])
@pytest.mark.parametrize("stride", [1, 2])
def test_mixture_with_all_channels_is_the_ensemble(inputs: str, stride: int) -> None:
    """gamma = 1/2 at width 2, balanced: every channel of both nets once. The fit is exact, as
    Theorem 1 has it."""
    nets, x = (
        [small(s, stride=stride) for s in (0, 1)],
        images(200),
    )  # 90 inputs of the fully connected layer
    found = mix(
        *nets, x, 0.5, MixtureOptions(width=2, inputs=inputs, scheme="balanced"), generator=0
    )
    # the fully connected layer keeps its width, so only half of its 6 + 6 units are there; compare
    # what reads all
    first, second = found.net.preactivations(x)[:2]
    for layer, g in ((0, first), (1, second)):
        teachers = torch.cat([net.preactivations(x)[layer] for net in nets], 1)
        assert torch.allclose(g, teachers[:, found.sources[layer]], atol=F32)
    assert found.errors[0] is None
    assert found.errors[1] < 1e-8
    assert found.errors[2] < 1e-8


@pytest.mark.parametrize("inputs", ["own", "teacher"])
def test_fully_connected_mixture_of_all_units_averages_outputs(inputs: str) -> None:
    torch.manual_seed(0)
    nets = [
        Chain([nn.Linear(3, 6), nn.Linear(6, 5), nn.Linear(5, 2)], [nn.Tanh(), nn.Tanh()])
        for _ in range(2)
    ]
    x = torch.randn(200, 3, generator=draw(1))
    with torch.no_grad():
        for gamma in (0.5,):  # at other gammas units of one net are missing
            found = mix(
                *nets,
                x,
                gamma,
                MixtureOptions(width=2, inputs=inputs, scheme="balanced"),
                generator=0,
            )
            wanted = gamma * nets[0](x) + (1 - gamma) * nets[1](x)
            assert torch.allclose(found.net(x), wanted, atol=F32)
        three = [*nets, copy.deepcopy(nets[0])]
        torch.manual_seed(7)
        for p in three[2].parameters():
            nn.init.normal_(p)
        found = mixtures(
            three,
            x,
            [(1 / 3, 1 / 3, 1 / 3)],
            MixtureOptions(width=3, inputs=inputs, scheme="balanced"),
            generator=0,
        )[0]
        assert torch.allclose(found.net(x), sum(net(x) for net in three) / 3, atol=10 * F32)


@pytest.mark.parametrize("inputs", ["own", "teacher"])
def test_the_ends_are_the_nets_themselves(inputs: str) -> None:
    nets, x = [small(s) for s in (0, 1)], images(200)
    for gamma, net in ((1.0, nets[0]), (0.0, nets[1])):
        found = mix(
            *nets, x, gamma, MixtureOptions(width=2, inputs=inputs, scheme="balanced"), generator=0
        )
        with torch.no_grad():
            assert torch.allclose(found.net(x), net(x), atol=F32)
        assert max(e for e in found.errors if e is not None) < 1e-8


def test_width_shapes_and_copies() -> None:
    """Copies of a channel share its outgoing weight: the mixture of width 3 computes what its
    distinct channels do."""
    nets, x = [small(s) for s in (0, 1)], images()
    found = mix(*nets, x, 0.3, MixtureOptions(width=3), generator=2)
    assert [j.weight.shape[0] for j in found.net.joints] == [
        12,
        15,
        6,
        3,
    ]  # fully connected layers keep theirs
    assert [len(s) for s in found.sources] == [12, 15, 6]
    source = found.sources[0]
    value, count = source.unique(return_counts=True)
    twice = int(value[count > 1][0])
    copies = (source == twice).nonzero().flatten()
    first, second = found.net.joint(1).weight, found.net.joint(2).weight
    assert torch.equal(first[copies[0]], first[copies[1]])
    assert torch.equal(second[:, copies[0]], second[:, copies[1]])


def test_many_gammas_give_the_same_as_one_each() -> None:
    nets, x = [small(s) for s in (0, 1)], images()
    gammas = (0.0, 0.4, 1.0)
    for inputs in ("own", "teacher"):
        together = mixtures(
            nets, x, [(g, 1 - g) for g in gammas], MixtureOptions(inputs=inputs), generator=0
        )
        alone = [mix(*nets, x, g, MixtureOptions(inputs=inputs), generator=0) for g in gammas]
        with torch.no_grad():
            for a, b in zip(together, alone, strict=True):
                assert torch.equal(a.net(x), b.net(x))


def test_own_inputs_correct_the_errors_of_earlier_layers() -> None:
    """With few channels of many, fits are poor; reading the mixture's own features must give the
    better output fit."""
    nets, x = [small(s, (12, 12, 12)) for s in (0, 1)], images(400)
    own, teacher = (
        mix(*nets, x, 0.5, MixtureOptions(width=1, inputs=i), generator=0)
        for i in ("own", "teacher")
    )
    with torch.no_grad():
        wanted = (nets[0](x) + nets[1](x)) / 2
        misses = [(m.net(x) - wanted).square().mean() for m in (own, teacher)]
    assert misses[0] < misses[1]
    assert own.errors[-1] == pytest.approx(
        float(misses[0] / wanted.var(0, correction=0).mean()), rel=1e-3
    )


def test_nets_of_different_widths_mix() -> None:
    found = mix(
        small(0, (4, 5, 6)),
        small(1, (8, 7, 9)),
        images(),
        0.5,
        MixtureOptions(width=2),
        generator=0,
    )
    assert [j.weight.shape[0] for j in found.net.joints] == [8, 10, 6, 3]


def test_last_layer_by_cross_entropy_is_the_convex_minimum() -> None:
    nets, x = [small(s) for s in (0, 1)], images(60)
    y = torch.arange(60) % 3
    found = mix(*nets, x, 0.5, generator=0, y=y, weight=0.01).net

    def cost(net: Chain) -> float:
        return float(
            (nn.functional.cross_entropy(net(x), y) + 0.01 * l12(net.joint(4).weight)).detach()
        )

    best = cost(found)
    g = draw(6)
    for size in (1e-3, 1e-2, 1e-1):
        for _ in range(5):
            other = copy.deepcopy(found)
            for p in other.joint(4).parameters():
                p.data += size * torch.randn(p.shape, generator=g)
            assert cost(other) > best
    again = refit_top(found, x, y, weight=0.01)
    assert cost(again) == pytest.approx(best, rel=1e-4)


def test_matching_as_the_authors_did_lowers_their_loss() -> None:
    nets, x = [small(s) for s in (0, 1)], images(64)
    losses = []
    for epochs in (1, 40):
        how = LayerTraining(seed=0, epochs=epochs, lr=2e-2, batch=16, weight=0.0)
        found = mix(*nets, x, 0.5, MixtureOptions(width=2, fit=how), generator=0)
        with torch.no_grad():
            targets = torch.cat([net.features(x)[1] for net in nets], 1)[:, found.sources[0]]
            losses.append(
                float(
                    (found.net.features(x)[1] - targets).square().mean() / targets.square().mean()
                )
            )
    assert losses[1] < 0.05 < 0.5 * losses[0]
    assert [len(s) for s in found.sources] == [8, 10, 6]


def test_vgg_mixture_runs_and_is_an_ordinary_net() -> None:
    nets = [initialise(VGG(width=1 / 16, side=8, pools=3, hidden=16), generator=s) for s in (0, 1)]
    x = torch.randn(40, 3, 8, 8, generator=draw(0))
    found = mix(*nets, x, 0.5, generator=0)
    assert found.net.joint(1).weight.shape[0] == 8
    assert found.net(x).shape == (40, 10)
    assert torch.isfinite(found.net(x)).all()
    assert not nets[0].joint(1).weight.requires_grad or nets[0].joint(1).weight.grad is None


def test_bad_input_is_refused() -> None:
    nets, x = [small(s) for s in (0, 1)], images(8)
    with pytest.raises(ValueError, match=r"gamma is -0\.1"):
        mix(*nets, x, -0.1, generator=0)
    with pytest.raises(TypeError, match="net is Linear: expected a plain nn.Sequential"):
        mixtures([nn.Linear(1, 1), nets[0]], x, [(0.5, 0.5)], generator=0)
    with pytest.raises(ValueError, match="expected one architecture"):
        mix(nets[0], small(1, stride=2), x, 0.5, generator=0)
    with pytest.raises(ValueError, match="width is 0"):
        mix(*nets, x, 0.5, MixtureOptions(width=0), generator=0)
    with pytest.raises(ValueError, match="inputs is 'both'"):
        mix(*nets, x, 0.5, MixtureOptions(inputs="both"), generator=0)
    with pytest.raises(ValueError, match="expected inputs='own'"):
        mix(
            *nets,
            x,
            0.5,
            MixtureOptions(inputs="teacher", fit=LayerTraining(seed=0)),
            generator=0,
        )
    with pytest.raises(ValueError, match="8 samples and targets"):
        mix(*nets, x, 0.5, generator=0, y=torch.zeros(7, dtype=torch.int64))
    with pytest.raises(ValueError, match="sum 1"):
        mixtures(nets, x, [(0.5, 0.6)], generator=0)
    with pytest.raises(ValueError, match="ridge is -1"):
        mix(*nets, x, 0.5, MixtureOptions(ridge=-1), generator=0)
    with pytest.raises(ValueError, match="no scheme 'sorted'"):
        mix(*nets, x, 0.5, MixtureOptions(scheme="sorted"), generator=0)
    with pytest.raises(ValueError, match="expected epochs, batch >= 1"):
        LayerTraining(seed=0, epochs=0)
    with pytest.raises(ValueError, match="2 groups"):
        equations(Geometry.of(nn.Conv2d(2, 2, 3, groups=2)), [x])
    with pytest.raises(ValueError, match="got no data"):
        equations(Geometry.of(nn.Linear(2, 1)), [])
    with pytest.raises(ValueError, match="weight is -1"):
        refit_top(nets[0], x, torch.zeros(8, dtype=torch.int64), weight=-1)
