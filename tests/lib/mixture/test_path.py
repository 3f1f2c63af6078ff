"""lib.mixture: paths between nets, in weight space and of given nets, and how far they are from
convex."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from experiments.bands import bootstrap
from experiments.mixtures import PathSettings, all_paths, paths_between
from lib.mixture import MixtureOptions, barrier, loss_curve, mix, weight_path
from lib.mixture.barriers import excess
from lib.mixture.curve import LossCurve
from lib.nets import VGG, Chain, initialise
from lib.symmetry import permute, rebasin
from lib.train.sgd import evaluate, penalty


def nets() -> list[VGG]:
    return [
        initialise(VGG(width=1 / 16, side=8, pools=3, hidden=12), how, generator=3).eval()
        for how in ("he_normal", "he_uniform")
    ]


def sample(n: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return torch.randn(n, 3, 8, 8, generator=g), torch.randint(0, 10, (n,), generator=g)


def test_the_path_agrees_with_one_net_at_a_time() -> None:
    a, b = nets()
    x, y = sample()
    path = weight_path(a, b, x, y, gammas=5, batch=8)
    for i, gamma in enumerate(path.gammas.tolist()):
        net = copy.deepcopy(a)
        for p, s, t in zip(net.parameters(), a.parameters(), b.parameters(), strict=True):
            p.data = gamma * s.data + (1 - gamma) * t.data
        expected = evaluate(net, x, y)
        assert path.cross_entropy[i] == pytest.approx(
            expected.cross_entropy, rel=1e-5
        )  # float32 nets
        assert path.accuracy[i] == pytest.approx(expected.accuracy, abs=1e-9)
        assert path.regulariser[i] == pytest.approx(float(penalty(net).detach()), rel=1e-5)
    assert torch.allclose(path.overall, path.cross_entropy + path.regulariser)


def test_given_gammas_and_weights_of_the_regulariser() -> None:
    a, b = nets()
    x, y = sample()
    path = weight_path(a, b, x, y, gammas=torch.tensor([-0.5, 1.5]), kind="l2", weight=0.1)
    assert path.gammas.tolist() == [-0.5, 1.5]
    net = copy.deepcopy(a)
    for p, s, t in zip(net.parameters(), a.parameters(), b.parameters(), strict=True):
        p.data = 1.5 * s.data - 0.5 * t.data
    assert float(path.regulariser[1]) == pytest.approx(float(penalty(net, "l2").detach()), rel=1e-5)
    assert float(path.overall[1]) == pytest.approx(
        float(path.cross_entropy[1] + 0.1 * path.regulariser[1])
    )


def test_nets_are_left_as_they_were() -> None:
    a, b = nets()
    before = [p.clone() for p in a.parameters()]
    a.train()
    weight_path(a, b, *sample(8), gammas=3)
    assert a.training
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), before, strict=True))


def test_measure_of_the_ends_is_the_path_at_its_ends() -> None:
    a, b = nets()
    x, y = sample()
    line = weight_path(a, b, x, y, gammas=3)
    ends = loss_curve([b, a], x, y, (0.0, 1.0))
    assert torch.allclose(line.losses[[0, 2]], ends.losses, rtol=1e-5)
    assert torch.equal(line.correct[[0, 2]], ends.correct)


def test_paths_between_two_nets_share_their_ends_where_they_should() -> None:
    a, b = nets()
    x, y = sample()
    found = paths_between(
        a, b, x, y, 0.5, PathSettings(2, points=5, gammas=3, mixture=MixtureOptions(ridge=0.01))
    )
    assert torch.allclose(
        found["weights"].losses[[0, -1]], found["aligned"].losses[[0, -1]], rtol=1e-4
    )
    assert (
        found["aligned"].regulariser[2] > 1.01 * found["weights"].regulariser[2]
    )  # nearer weights cancel less
    assert all(path.weight == 0.5 for path in found.values())
    third = mix(a, b, x, 0.5, MixtureOptions(ridge=0.01), generator=2, y=y, weight=0.5).net
    alone = loss_curve([third], x, y, (0.5,), weight=0.5)
    assert torch.allclose(found["features"].losses[1], alone.losses[0], rtol=1e-6)
    assert torch.equal(found["weights"].every(2).losses, found["weights"].losses[::2])


def test_finished_pairs_are_read_back(tmp_path) -> None:
    a, b = nets()
    x, y = sample()
    settings = PathSettings(0, points=3, gammas=3, mixture=MixtureOptions(ridge=0.01))
    pairs = {"one": (a, b, 0.5), "back": (b, a, 1.0)}
    first = all_paths(pairs, x, y, settings, folder=tmp_path / "store")
    (tmp_path / "store" / "paths-back.json").unlink()
    again = all_paths(
        {"one": (a, a, 0.5), "back": (b, a, 1.0)}, x, y, settings, folder=tmp_path / "store"
    )
    for name in pairs:  # "one" comes from its file, "back" is computed again
        for way, path in first[name].items():
            assert torch.equal(path.losses, again[name][way].losses)
            assert torch.equal(path.correct, again[name][way].correct)
            assert path.weight == again[name][way].weight == pairs[name][2]


# barriers


def test_barrier_of_known_curves() -> None:
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    convex = barrier(t, (t - 0.3) ** 2)
    assert convex.height == pytest.approx(0, abs=1e-15)
    assert convex.second == pytest.approx(2 * 0.1**2)
    bump = barrier(t, t * (1 - t) + 5 * t)
    assert bump.height == pytest.approx(0.25)
    assert bump.at == pytest.approx(0.5)
    assert bump.second == pytest.approx(-2 * 0.1**2)


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=12), st.floats(-3, 3), st.floats(-3, 3))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_barrier_ignores_straight_lines(values: list[float], slope: float, offset: float) -> None:
    t = torch.linspace(0, 1, len(values), dtype=torch.float64)
    v = torch.tensor(values, dtype=torch.float64)
    a, b = barrier(t, v), barrier(t, v + slope * t + offset)
    assert a.height == pytest.approx(b.height, abs=1e-12)
    assert a.second == pytest.approx(b.second, abs=1e-12)


def test_the_authors_curves_have_the_printed_barriers() -> None:
    """The weight path of Fig. 3b as the authors' raw numbers give it, at the eleven feature-path
    points."""
    overall = [1.909, 1.913, 1.904, 1.904, 1.929, 1.946, 1.989, 2.028, 2.099, 2.215, 2.335]
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    found = barrier(t, torch.tensor(overall, dtype=torch.float64))
    assert found.height == 0
    assert found.second > -0.0145  # -0.0125 with all digits, +- 2 units of the third printed one


def test_bootstrap_bands_hold_the_curve_and_shrink_with_the_data() -> None:
    g = torch.Generator().manual_seed(0)
    t = torch.linspace(0, 1, 5, dtype=torch.float64)

    def path(n: int) -> LossCurve:
        noise = torch.rand(1, n, generator=g, dtype=torch.float64)  # the same images along the path
        losses = (t[:, None] - 0.5) ** 2 + noise
        return LossCurve(
            t, losses, torch.ones(5, n, dtype=torch.bool), torch.zeros(5, dtype=torch.float64)
        )

    small, large = path(50), path(5000)
    for p in (small, large):
        bands = bootstrap(p, draws=300, level=0.99, seed=0)
        assert ((bands.low <= p.overall) & (p.overall <= bands.high)).all()
        assert bands.height == pytest.approx(
            (0, 0), abs=1e-12
        )  # common noise cancels in the excess over the chord
        assert bands.second == pytest.approx((0.125, 0.125))
    widths = [
        float((bootstrap(p, draws=300, seed=0).high - bootstrap(p, draws=300, seed=0).low).mean())
        for p in (small, large)
    ]
    assert 6 < widths[0] / widths[1] < 16  # sqrt(100) = 10, of 300 draws
    assert torch.equal(bootstrap(small, seed=1).low, bootstrap(small, seed=1).low)


def test_bootstrap_agrees_with_numpy() -> None:
    g = torch.Generator().manual_seed(1)
    t = torch.linspace(0, 1, 3, dtype=torch.float64)
    losses = torch.rand(3, 400, generator=g, dtype=torch.float64)
    p = LossCurve(t, losses, losses > 0, torch.tensor([1.0, 2.0, 3.0]).double(), weight=0.5)
    bands = bootstrap(p, draws=2000, level=0.95, seed=0)
    error = losses.numpy().std(1) / 20
    centre = losses.numpy().mean(1) + 0.5 * np.array([1, 2, 3])
    assert np.allclose(
        bands.low.numpy(), centre - 1.96 * error, atol=0.003
    )  # a fifth of a standard error
    assert np.allclose(bands.high.numpy(), centre + 1.96 * error, atol=0.003)
    assert torch.equal(excess(t, p.overall)[[0, 2]], torch.zeros(2).double())


def test_bad_input_is_refused() -> None:
    a, b = nets()
    x, y = sample(6)
    with pytest.raises(ValueError, match="the nets differ in shape"):
        weight_path(a, initialise(VGG(width=1 / 8, side=8, pools=3, hidden=12), generator=0), x, y)
    with pytest.raises(ValueError, match="P >= 1"):
        weight_path(a, b, x, y, gammas=0)
    with pytest.raises(ValueError, match="6 samples and targets"):
        weight_path(a, b, x, y[:5])
    with pytest.raises(ValueError, match="got 1 nets and gammas"):
        loss_curve([a], x, y, (0.0, 1.0))
    with pytest.raises(ValueError, match="expected a divisor of 4"):
        weight_path(a, b, x, y, gammas=5).every(3)
    t = torch.linspace(0, 1, 4)
    with pytest.raises(ValueError, match="P >= 3"):
        barrier(t[:2], t[:2])
    with pytest.raises(ValueError, match="evenly spaced"):
        barrier(torch.tensor([0.0, 0.1, 1.0]), torch.zeros(3))
    p = LossCurve(t, torch.zeros(4, 3), torch.zeros(4, 3) > 0, torch.zeros(4))
    with pytest.raises(ValueError, match="draws is 1"):
        bootstrap(p, draws=1, seed=0)


# permutation alignment


def shuffled(net: VGG, seed: int) -> VGG:
    g = np.random.default_rng(seed)
    return permute(net, [g.permutation(len(j.weight)) for j in net.joints[:-1]])


def test_permuting_keeps_the_function_and_is_undone() -> None:
    net = nets()[0]
    x, _ = sample(5)
    other = shuffled(net, 0)
    with torch.no_grad():
        assert not torch.equal(net.joint(2).weight, other.joint(2).weight)
        assert torch.allclose(
            net(x), other(x), rtol=1e-4, atol=1e-5
        )  # float32 sums in another order
    back = rebasin(net, other)
    assert all(torch.equal(p, q) for p, q in zip(back.parameters(), net.parameters(), strict=True))


def test_alignment_removes_the_barrier_of_a_permuted_copy_and_of_nothing_else() -> None:
    net, other = nets()
    x, y = sample()
    copy_path = weight_path(net, rebasin(net, shuffled(net, 1)), x, y, gammas=5)
    assert torch.allclose(copy_path.losses, copy_path.losses[:1].expand(5, -1), rtol=1e-4)
    near = rebasin(net, other)
    gap = [
        sum(
            float((p - q).detach().square().sum())
            for p, q in zip(net.parameters(), b.parameters(), strict=True)
        )
        for b in (near, other)
    ]
    assert gap[0] < gap[1]


def test_orders_are_checked() -> None:
    net = nets()[0]
    with pytest.raises(ValueError, match="order of layer 1 is .*: expected a permutation of"):
        permute(net, [np.zeros(len(j.weight), dtype=int) for j in net.joints[:-1]])
    one = Chain([nn.Linear(2, 2)], [])
    with pytest.raises(ValueError, match="expected the same depth >= 2"):
        rebasin(one, one)
