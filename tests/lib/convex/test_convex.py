"""lib.convex: a net as a point of Theorem 1's feature space, its objective there, and Jensen's
inequality."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from experiments.convexity import escaping_mass, random_point, segment, swapped_neurons
from lib.convex import Point, Space, convex_objective, from_net, mix_points, to_net, union
from lib.convex.space import Stage
from lib.convex.terms import output, penalties, perspective, violation
from lib.nets import MLP, Chain, cross_entropy, forward, init, mse, risk, stack
from lib.train.sgd.regulariser import l2_paper, l12_paper

EXACT = 1e-12  # float64 sums of at most a few hundred terms of size about 1
seeds = st.integers(0, 10_000)
few = settings(max_examples=12, deadline=None, derandomize=True)


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def conv_net(seed: int, widths: tuple[int, int] = (3, 4)) -> Chain:
    torch.manual_seed(seed)
    a, b = widths
    joints = [nn.Conv2d(2, a, 3, padding=1), nn.Conv2d(a, b, 3, padding=1), nn.Linear(4 * b, 3)]
    pool = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5))
    return Chain(joints, [nn.ReLU(), pool]).double().eval()


def images(seed: int = 0, n: int = 5) -> torch.Tensor:
    return torch.randn(n, 2, 4, 4, generator=draw(seed), dtype=torch.float64)


def mlp_case(
    seed: int, widths=(2, 3, 4, 2), activation: str = "tanh"
) -> tuple[MLP, torch.Tensor, torch.Tensor]:
    g = draw(seed)
    net = init(widths, activation, generator=g)
    return net, *(
        torch.randn(6, k, generator=g, dtype=torch.float64) for k in (widths[0], widths[-1])
    )


def test_a_net_and_its_point_have_the_same_output() -> None:
    net, x, _ = mlp_case(0)
    assert torch.allclose(output(*from_net(net, x)), forward(net, x), atol=EXACT)
    conv, pictures = conv_net(0), images()
    space, point = from_net(conv, pictures)
    assert torch.allclose(output(space, point), conv(pictures), atol=EXACT)
    assert space.sizes == (2, 3, 4)
    assert violation(space, point) < EXACT
    assert violation(*from_net(net, x)) < EXACT


def test_objective_is_the_papers_objective_of_the_discrete_net() -> None:
    """Term by term: loops in numpy for the fully connected net, lib.train.sgd's regularisers for
    the convolutional one."""
    net, x, y = mlp_case(1)
    terms = convex_objective(*from_net(net, x), y, strength=(0.3, 0.2, 0.1))
    before = 2
    for layer, w in enumerate(net.weights[:-1]):
        w = w.numpy() * before  # the paper's w: its sums over inputs carry 1 / m
        loops = (
            sum((sum(abs(w[j, k]) for j in range(len(w))) / len(w)) ** 2 for k in range(before))
            / before
        )
        assert terms.layers[layer] == pytest.approx(loops, rel=1e-12)
        before = len(w)
    u = net.weights[-1].numpy() * before
    assert terms.top == pytest.approx(
        sum(np.sum(u[:, j] ** 2) for j in range(before)) / before, rel=1e-12
    )
    assert terms.loss == pytest.approx(float(risk(net, x, y)), rel=1e-12)
    assert terms.total == pytest.approx(
        terms.loss + 0.3 * terms.layers[0] + 0.2 * terms.layers[1] + 0.1 * terms.top
    )

    conv, pictures = conv_net(1), images()
    labels = torch.tensor([0, 1, 2, 0, 1])
    found = convex_objective(
        *from_net(conv, pictures), labels, strength=(1, 1, 1), loss=cross_entropy
    )
    assert found.layers == pytest.approx(
        [float(l12_paper(j.weight.detach())) for j in conv.joints[:2]], rel=1e-12
    )
    flat = conv.joint(
        3
    ).weight.detach()  # u_j has 4 elements, one a position, so m = 4 channels and not 16 inputs
    assert found.top == pytest.approx(float(l2_paper(flat)) * 4 / 16, rel=1e-12)


@given(seeds)
@few
def test_round_trip_through_feature_space(seed: int) -> None:
    net, x, _ = mlp_case(seed)
    back = to_net(*from_net(net, x), net, widths=(3, 4))
    assert all(
        torch.allclose(a.weight, w, atol=EXACT)
        for a, w in zip(back.joints, net.weights, strict=True)
    )
    assert all(
        torch.allclose(a.bias, b, atol=EXACT) for a, b in zip(back.joints, net.biases, strict=True)
    )


def test_mixtures_of_two_nets_are_ordinary_wider_nets() -> None:
    """gamma = 1/4 of nets of widths (3, 4): masses 1/12, 3/12 and 1/16, 3/16, whole numbers of 12
    and 16 neurons."""
    pictures = images()
    a, b = conv_net(2), conv_net(3)
    space, p, q = union(from_net(a, pictures), from_net(b, pictures))
    mixed = mix_points(p, q, 0.25)
    net = to_net(space, mixed, a, widths=(12, 16))
    assert torch.allclose(net(pictures), output(space, mixed), atol=EXACT)
    assert torch.allclose(net(pictures), 0.25 * a(pictures) + 0.75 * b(pictures), atol=EXACT)
    y = torch.randn(5, 3, generator=draw(1), dtype=torch.float64)
    ordinary = convex_objective(*from_net(net, pictures), y, strength=(0.1, 0.2, 0.3))
    assert ordinary.total == pytest.approx(
        convex_objective(space, mixed, y, strength=(0.1, 0.2, 0.3)).total, rel=1e-10
    )


def test_union_changes_neither_outputs_nor_objectives() -> None:
    x = mlp_case(4)[1]
    y = mlp_case(4)[2]
    nets = [init((2, 3, 4, 2), generator=draw(5)), init((2, 5, 2, 2), generator=draw(6))]
    alone = [from_net(n, x) for n in nets]
    space, *points = union(*alone)
    for (own, point), lifted in zip(alone, points, strict=True):
        assert torch.equal(output(space, lifted), output(own, point))
        terms = convex_objective(space, lifted, y, strength=(1, 1, 1))
        assert terms.total == pytest.approx(
            convex_objective(own, point, y, strength=(1, 1, 1)).total, rel=1e-12
        )
        assert violation(space, lifted) < EXACT


def test_sampled_nets_approach_the_continuous_one() -> None:
    """The error of m sampled neurons falls as 1/sqrt(m): 64 times the neurons, an eighth of the
    error (within 2x)."""
    net, x, _ = mlp_case(7, (2, 5, 1))
    space, point = from_net(net, x)
    masses = torch.tensor([0.3, 0.25, 0.2, 0.15, 0.1], dtype=torch.float64)
    scale = masses / point.p[0]
    uneven = Point(
        (masses,), (point.w[0] * scale[:, None, None],), (point.b[0] * scale,), point.u, point.c
    )

    def error(width: int) -> float:
        nets = [to_net(space, uneven, net, (width,), generator=draw(s)) for s in range(40)]
        gaps = torch.stack([(n(x).detach() - output(space, uneven)).square().mean() for n in nets])
        return float(gaps.mean().sqrt())

    assert 4 < error(20) / error(1280) < 16
    rounded = to_net(space, uneven, net, (20,))
    assert torch.allclose(
        rounded(x), output(space, uneven), atol=EXACT
    )  # 20 p = 6, 5, 4, 3, 2: exact


@given(st.floats(-5, 5), st.floats(0.01, 3), st.floats(-5, 5), st.floats(0.01, 3), st.floats(0, 1))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_perspective_is_jointly_convex(
    s: float, p: float, t: float, q: float, gamma: float
) -> None:
    def f(a: float, b: float) -> float:
        return float(perspective(torch.tensor(a).double(), torch.tensor(b).double()))

    middle = f(gamma * s + (1 - gamma) * t, gamma * p + (1 - gamma) * q)
    chord = gamma * f(s, p) + (1 - gamma) * f(t, q)
    assert middle <= chord + 1e-9 * (1 + chord)


@given(seeds, st.sampled_from(["tanh", "relu"]))
@few
def test_theorem_1_objective_is_convex_between_random_points(seed: int, activation: str) -> None:
    """Random (p, w~, u~) that obey the constraints on common atoms; the segment obeys them and lies
    below its chord."""
    g = draw(seed)
    net, x, y = mlp_case(
        seed, (7, 9, 8, 2), activation
    )  # more atoms than the 6 samples: weights are underdetermined
    space, _ = from_net(net, x)
    first, second = (random_point(space, 2, g, noise=2.0) for _ in range(2))
    assert (
        max(violation(space, q) for q in (first, second)) < 1e-9
    )  # pseudo-inverse of a 6 x 10 matrix
    found = segment(space, first, second, y, strength=(0.2, 0.3, 0.1))
    assert found.violation < 1e-9
    assert (found.slack > -1e-9 * found.totals.abs().max()).all()
    assert found.slack[5] > 0  # and not because nothing happens


def test_theorem_1_on_convolutional_nets_with_cross_entropy() -> None:
    g, pictures = draw(8), images(3, 2)
    labels = torch.tensor([2, 0])
    space, p, q = union(
        from_net(conv_net(4, (20, 22)), pictures), from_net(conv_net(5, (20, 22)), pictures)
    )
    strength = (0.1, 0.1, 0.1)
    between_nets = segment(space, p, q, labels, strength=strength, loss=cross_entropy)
    assert (between_nets.slack > -1e-10).all()
    assert between_nets.slack[5] > 0
    assert between_nets.violation < EXACT
    others = [random_point(space, 3, g) for _ in range(2)]
    random = segment(space, *others, labels, strength=strength, loss=cross_entropy)
    assert random.violation < 1e-9
    assert (random.slack > -1e-9 * random.totals.abs().max()).all()


def test_theorem_1_on_trained_nets() -> None:
    """Two trained nets: a barrier between their weights, none between their feature
    distributions."""
    from lib.train.descent import descend

    x = torch.linspace(-2, 2, 20, dtype=torch.float64)[:, None]
    y = torch.sin(2 * x)
    start = init((1, 8, 1), generator=draw(0), batch=(2,))
    nets = descend(start, x, y, steps=1500, lr=0.1, keep_smallest=False, backend="torch").net
    a, b = nets[0], nets[1]
    space, p, q = union(from_net(a, x), from_net(b, x))
    strength = (1e-3, 1e-3)
    through = segment(space, p, q, y, strength=strength)
    assert (through.slack > -EXACT).all()
    weights = stack([_between(a, b, float(t)) for t in through.gammas])
    straight = [
        convex_objective(*from_net(weights[i], x), y, strength=strength).total for i in range(11)
    ]
    chord = torch.linspace(straight[0], straight[-1], 11)
    assert max(s - float(c) for s, c in zip(straight, chord, strict=True)) > 0.05


def _between(a: MLP, b: MLP, gamma: float) -> MLP:
    mixed = [
        gamma * s + (1 - gamma) * t for s, t in zip(a.parameters(), b.parameters(), strict=True)
    ]
    return MLP(mixed[0::2], mixed[1::2], a.activation)


def test_the_original_form_is_not_convex() -> None:
    """The midpoint of the weights is worse than both ends, regulariser included; the mixture is
    not."""
    a, b, x, y = swapped_neurons()
    strength = (1e-2, 1e-2)
    ends = [convex_objective(*from_net(net, x), y, strength=strength).total for net in (a, b)]
    middle = convex_objective(*from_net(_no_bias_between(a, b), x), y, strength=strength).total
    assert middle > max(ends) + 0.4
    space, p, q = union(from_net(a, x), from_net(b, x))
    assert segment(space, p, q, y, strength=strength).totals.max() <= max(ends) + EXACT


def _no_bias_between(a: MLP, b: MLP) -> MLP:
    return MLP(
        [(s + t) / 2 for s, t in zip(a.weights, b.weights, strict=True)], activation=a.activation
    )


@pytest.mark.parametrize("width", [1, 16, 400])
def test_relu_mass_escapes_and_the_infimum_is_not_attained(width: int) -> None:
    x = torch.linspace(-1, 1, 7, dtype=torch.float64)[:, None]
    y = 1.5 * torch.relu(x)
    terms = convex_objective(*from_net(escaping_mass(width, slope=1.5), x), y, strength=(1, 1))
    assert terms.loss < 1e-25
    assert terms.total == pytest.approx(2 * 1.5 / np.sqrt(width), rel=1e-12)


def test_two_nets_without_common_features_mix_to_the_ensemble() -> None:
    net, x, y = mlp_case(9)
    other = mlp_case(10)[0]
    space, p, q = union(from_net(net, x), from_net(other, x))
    mixed = mix_points(p, q, 0.3)
    assert torch.allclose(
        output(space, mixed), 0.3 * forward(net, x) + 0.7 * forward(other, x), atol=EXACT
    )
    assert mse(output(space, mixed), y) <= 0.3 * risk(net, x, y) + 0.7 * risk(other, x, y)
    (first, top), (second, last), (both, end) = (penalties(space, point) for point in (p, q, mixed))
    assert torch.allclose(end, 0.3 * top + 0.7 * last, rtol=EXACT)
    for layer, (a, b, c) in enumerate(zip(first, second, both, strict=True)):
        chord = 0.3 * a + 0.7 * b
        assert (
            c < chord if layer == 0 else torch.allclose(c, chord, rtol=EXACT)
        )  # only the inputs are common


def test_bad_input_is_refused() -> None:
    net, x, y = mlp_case(0)
    space, point = from_net(net, x)
    with pytest.raises(ValueError, match="no hidden layer"):
        from_net(init((2, 1), generator=0), x)
    with pytest.raises(TypeError, match="Conv1d"):
        from_net(
            Chain([nn.Conv1d(2, 2, 1), nn.Linear(2, 1)], [nn.ReLU()]),
            torch.ones(1, 2, 3),
        )
    with pytest.raises(ValueError, match="2 groups"):
        from_net(
            Chain([nn.Conv2d(2, 2, 1, groups=2), nn.Linear(2, 1)], [nn.ReLU()]).double(), images()
        )
    with pytest.raises(TypeError, match=r"float32; convert|inputs are torch.float32"):
        Space(x.float(), space.atoms, space.stages)
    with pytest.raises(ValueError, match="2 layers of atoms and 2 stages"):
        Space(x, space.atoms, space.stages[:2])
    with pytest.raises(ValueError, match="atoms of layer 2 have shape"):
        Space(x, (space.atoms[0], space.atoms[1][:3]), space.stages)
    with pytest.raises(ValueError, match=r"layer 4 outside 1\.\.3"):
        space.below(4)
    with pytest.raises(ValueError, match=r"gamma is 1\.5"):
        mix_points(point, point, 1.5)
    with pytest.raises(ValueError, match="bring both to one space"):
        mix_points(point, from_net(init((2, 2, 2), generator=0), x)[1], 0.5)
    with pytest.raises(ValueError, match="expected 3 numbers >= 0"):
        convex_objective(space, point, y, strength=(1, 1))
    with pytest.raises(ValueError, match="smallest mass is -1"):
        perspective(torch.ones(1), -torch.ones(1))
    with pytest.raises(ValueError, match="expected >= 2"):
        segment(space, point, point, y, strength=(1, 1, 1), steps=1)
    with pytest.raises(ValueError, match="other inputs, depths"):
        union((space, point), from_net(net, 2 * x))
    with pytest.raises(ValueError, match="expected 2 numbers >= 1"):
        to_net(space, point, net, (3,))
    with pytest.raises(ValueError, match="no weights lead to the atoms of layer 1"):
        random_point(
            Space(
                x,
                (torch.randn(6, 3, 2, generator=draw(0)).double()[..., 0], space.atoms[1]),
                space.stages,
            ),
            2,
            draw(0),
        )
    with pytest.raises(ValueError, match="one vector an input"):  # noqa: PT012
        keep = Stage(nn.Identity(), lambda f, w: torch.einsum("nghw,kgt->nkhw", f, w))
        output(
            Space(images(), (images(),), (keep, keep)),
            Point((), (), (), torch.ones(1, 2, 1).double(), torch.zeros(1)),
        )
    with pytest.raises(ValueError, match="slope 0"):
        escaping_mass(3, slope=0)


def test_violations_are_found() -> None:
    net, x, _ = mlp_case(0)
    space, point = from_net(net, x)
    wrong = Point(point.p, (point.w[0] * 1.01, point.w[1]), point.b, point.u, point.c)
    assert violation(space, wrong) > 1e-3
    heavy = Point(
        (point.p[0] * 2, point.p[1]),
        (point.w[0] * 2, point.w[1]),
        (point.b[0] * 2, point.b[1]),
        point.u,
        point.c,
    )
    assert violation(space, heavy) == pytest.approx(1.0)
    off = Point(point.p, point.w, point.b, point.u * 0, point.c)
    weightless = Point(
        (torch.zeros_like(point.p[0]), point.p[1]), point.w, point.b, point.u, point.c
    )
    assert convex_objective(space, off, torch.zeros(6, 2).double(), strength=(0, 0, 1)).top == 0
    assert (
        convex_objective(space, weightless, torch.zeros(6, 2).double(), strength=(1, 1, 1)).total
        == np.inf
    )
