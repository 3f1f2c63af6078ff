"""Grafting: the exact joint against dense least squares, what it preserves, Algorithm 1 and Eq.
(6)."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from experiments.grafting.increase import error_increase, random_features
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
from lib.nets import VGG, Chain, initialise

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randn(48, 3, 8, 8, generator=GENERATOR, dtype=torch.float64)


def tiny(seed=0, **fields):
    net = initialise(
        VGG(**({"width": 1 / 16, "side": 8, "pools": 3, "hidden": 8} | fields)), generator=seed
    )
    net.double().eval()
    # unit pre-activations with biases that matter: as drawn, the deep layers of nets this narrow
    # hardly vary
    for layer, joint in enumerate(net.joints, start=1):
        nn.init.normal_(joint.bias, std=0.3, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            g = net.preactivations(IMAGES, layer)[-1]
            joint.weight /= g.std()
            joint.bias /= g.std()
    return net


NETS = tiny(1), tiny(2)


def random_maps(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# least squares


@pytest.mark.parametrize(
    "joint",
    [
        nn.Conv2d(4, 6, 3, padding=1),
        nn.Conv2d(4, 6, 3, padding=1, bias=False),
        nn.Conv2d(4, 6, (2, 3), stride=2, padding=1, groups=2),
        nn.Conv2d(4, 6, 2, dilation=2, padding="same"),
        nn.Conv2d(4, 6, 1),
        nn.Linear(4, 6),
        nn.Linear(4, 6, bias=False),
    ],
)
def test_the_solution_is_that_of_dense_least_squares(joint):
    shape = Geometry.of(joint)
    f = random_maps(40, 4) if shape.linear else random_maps(40, 4, 5, 5)
    with torch.no_grad():
        target = joint.double()(f) + random_maps(*joint(f).shape, seed=1)
    equations = NormalEquations(shape, torch.float64)
    for part, aim in zip(f.split(17), target.split(17), strict=True):
        equations.add(part, aim)
    solution = solve(equations, bias=joint.bias is not None)
    # the oracle: every patch as a row, a column of ones for the bias, one group at a time
    loss = 0.0
    for group in range(shape.groups):
        m, g = f.chunk(shape.groups, 1)[group], target.chunk(shape.groups, 1)[group]
        rows = m if shape.linear else _patches(m, joint).transpose(1, 2).flatten(0, 1)
        aim = g if shape.linear else g.permute(0, 2, 3, 1).flatten(0, 2)
        ones = torch.ones(len(rows), 1 if joint.bias is not None else 0, dtype=torch.float64)
        dense = torch.linalg.lstsq(torch.cat([rows, ones], 1), aim).solution
        outputs = slice(group * g.shape[1], (group + 1) * g.shape[1])
        # condition below 100: normal equations lose its square of 1e-16
        torch.testing.assert_close(
            solution.weight[outputs], dense[: rows.shape[1]].T, rtol=1e-9, atol=1e-11
        )
        if joint.bias is not None:
            torch.testing.assert_close(solution.bias[outputs], dense[-1], rtol=1e-9, atol=1e-11)
        loss += (torch.cat([rows, ones], 1) @ dense - aim).square().mean(0).sum().item()
    assert solution.loss == pytest.approx(loss / shape.outputs, rel=1e-9)
    assert solution.ridge == 0
    assert not solution.ridge_needed


def _patches(maps, joint):
    reach = [d * (k - 1) for d, k in zip(joint.dilation, joint.kernel_size, strict=True)]
    if joint.padding == "same":
        maps = functional.pad(
            maps, (reach[1] // 2, reach[1] - reach[1] // 2, reach[0] // 2, reach[0] - reach[0] // 2)
        )
    padding = 0 if joint.padding == "same" else joint.padding
    return functional.unfold(maps, joint.kernel_size, joint.dilation, padding, joint.stride)


def test_the_condition_is_that_of_the_standardised_patches():
    f = random_maps(500, 6) @ torch.diag(torch.tensor([1.0, 10.0, 0.1, 1.0, 1.0, 1.0]).double())
    f[:, 5] = f[:, 4] + 0.01 * f[:, 5]
    equations = NormalEquations(Geometry.of(nn.Linear(6, 1)), torch.float64)
    equations.add(f + 3, random_maps(500, 1, seed=1))
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(f.numpy().T))
    expected = eigenvalues[-1] / eigenvalues[0]
    assert solve(equations).condition == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("products", "worst"), [(torch.float32, 1e6), (torch.float64, 1e12)])
def test_a_ridge_is_added_only_when_needed_and_said(products, worst):
    f = random_maps(200, 3)
    target = f @ torch.tensor([[1.0], [2.0], [0.0]]).double()
    copies = torch.cat([f, f[:, :1]], 1)  # two equal features: no unique solution
    equations = NormalEquations(Geometry.of(nn.Linear(4, 1)), products)
    equations.add(copies, target)
    solution = solve(equations)
    assert solution.ridge_needed
    assert 0 < solution.ridge < 10 / worst
    assert solution.condition > worst
    assert solution.loss < 1e-5 * solution.variance  # float32 products, 1e-7 each
    # the ridge shares evenly between them
    torch.testing.assert_close(solution.weight[0, 0], solution.weight[0, 3], rtol=1e-2, atol=0)
    plain = NormalEquations(Geometry.of(nn.Linear(3, 1)), products)
    plain.add(f, target)
    assert not solve(plain).ridge_needed
    assert solve(plain).ridge == 0


def test_a_ridge_that_is_asked_for_is_the_textbook_one():
    f, target = random_maps(50, 3), random_maps(50, 2, seed=1)
    equations = NormalEquations(Geometry.of(nn.Linear(3, 2)), torch.float64)
    equations.add(f, target)
    solution = solve(equations, ridge=0.1)
    z, t = (f - f.mean(0)) / f.std(0, correction=0), target - target.mean(0)
    weight = torch.linalg.solve(z.T @ z / 50 + 0.1 * torch.eye(3).double(), z.T @ t / 50)
    torch.testing.assert_close(
        solution.weight, (weight / f.std(0, correction=0)[:, None]).T, rtol=1e-10, atol=1e-12
    )
    assert solution.loss == pytest.approx((z @ weight - t).square().mean().item(), rel=1e-10)
    assert (solution.ridge, solution.ridge_needed) == (0.1, False)


def test_inputs_that_never_vary_get_no_weight():
    f = torch.cat(
        [random_maps(60, 2), torch.full((60, 1), 7.3).double(), torch.zeros(60, 1).double()], 1
    )
    target = f[:, :1] + 5
    equations = NormalEquations(Geometry.of(nn.Linear(4, 1)), torch.float64)
    equations.add(f, target)
    solution = solve(equations)
    assert solution.constant == 2
    assert solution.weight[0, 2:].tolist() == [0, 0]
    torch.testing.assert_close(
        solution.weight[0, :2], torch.tensor([1.0, 0.0]).double(), rtol=0, atol=1e-12
    )
    constant = NormalEquations(Geometry.of(nn.Linear(1, 1)), torch.float64)
    constant.add(torch.ones(5, 1), torch.arange(5.0)[:, None])
    assert solve(constant).bias.tolist() == [2.0]
    assert solve(constant).loss == pytest.approx(2.0)  # the variance of 0..4


def test_taps_that_only_see_rounding_do_not_spoil_the_others():
    # A channel that lives on the top row alone: the taps below it see nothing, and rounding of the
    # whole must not count.
    f = random_maps(200, 2, 2, 2)
    f[:, 1, 1] = 0
    joint = nn.Conv2d(2, 3, 3, padding=1).double()
    target = joint(f).detach()
    for products, small in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        equations = NormalEquations(Geometry.of(joint), products)
        equations.add(f, target)
        solution = solve(equations)
        assert solution.loss < small * solution.variance
        assert solution.ridge < 1e-4


def test_bad_equations_are_refused():
    equations = NormalEquations(Geometry.of(nn.Linear(2, 1)))
    with pytest.raises(ValueError, match="have seen no data"):
        solve(equations)
    with pytest.raises(ValueError, match=r"the target has shape \(3, 2\)"):
        equations.add(torch.zeros(3, 2), torch.zeros(3, 2))
    with pytest.raises(TypeError, match="float16"):
        NormalEquations(Geometry.of(nn.Linear(2, 1)), torch.float16)
    equations.add(torch.eye(2), torch.ones(2, 1))
    with pytest.raises(ValueError, match="ridge is -1"):
        solve(equations, ridge=-1.0)


# grafts


def test_grafting_a_net_onto_itself_gives_the_net_back():
    net = NETS[0]
    assert net(IMAGES).std() > 0.1
    for result in graft_layers(net, net, IMAGES, products=torch.float64):
        assert result.relative < 1e-11
        # where the joint is determined it is the net's own; where not (few images), its outputs are
        # the same anyway
        torch.testing.assert_close(result.net(IMAGES), net(IMAGES), rtol=0, atol=1e-6)
    shallow = graft(net, net, IMAGES, 1, products=torch.float64)
    torch.testing.assert_close(
        shallow.net.joint(2).weight, net.joint(2).weight, rtol=1e-8, atol=1e-8
    )


def permuted(net, layer, order):
    """The same function with the channels of a convolutional layer in another order and scaled."""
    scale = torch.linspace(0.5, 2, len(order), dtype=torch.float64)
    other = tiny()
    other.load_state_dict(net.state_dict())
    with torch.no_grad():
        other.joint(layer).weight.copy_(net.joint(layer).weight[order] * scale[:, None, None, None])
        other.joint(layer).bias.copy_(net.joint(layer).bias[order] * scale)
        other.joint(layer + 1).weight.copy_(
            net.joint(layer + 1).weight[:, order] / scale[None, :, None, None]
        )
    return other


def test_channels_in_another_order_and_scale_graft_without_loss():
    net = NETS[1]
    order = torch.randperm(4, generator=torch.Generator().manual_seed(0))
    other = permuted(net, 2, order)
    torch.testing.assert_close(other(IMAGES), net(IMAGES), rtol=1e-10, atol=1e-12)
    result = graft(other, net, IMAGES, 2, products=torch.float64)
    assert result.relative < 1e-12
    torch.testing.assert_close(result.net(IMAGES), net(IMAGES), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("layer", [1, 4, 9, 13, 14, 15])
def test_the_exact_joint_is_a_stationary_point_of_the_matching_loss(layer):
    result = graft(*NETS, IMAGES, layer, products=torch.float64, ridge=0.0)
    joint = result.net.joint(layer + 1).requires_grad_()
    f = result.net.features(IMAGES, layer)[-1].detach()
    target = NETS[1].preactivations(IMAGES, layer + 1)[-1].detach()
    loss = (joint(f) - target).square().mean()
    gradient = torch.autograd.grad(loss, list(joint.parameters()))
    # zero, up to the ridge where 48 images do not determine the joint, and rounding
    assert max(g.abs().max().item() for g in gradient) < 1e-9 + 10 * result.solution.ridge
    assert loss.item() == pytest.approx(result.loss, rel=1e-6, abs=1e-10 * target.var().item())


def test_the_reported_loss_is_the_measured_one():
    for result in graft_layers(*NETS, IMAGES, [1, 3, 12, 14], products=torch.float64):
        measured = matching_loss(result, NETS[1], IMAGES.split(20))
        target = NETS[1].preactivations(IMAGES, result.onto)[-1].transpose(0, 1).flatten(1)
        variance = target.var(1, correction=0).mean().item()
        assert result.loss == pytest.approx(measured, rel=1e-6, abs=1e-9 * variance)
        assert result.relative == pytest.approx(measured / variance, rel=1e-6, abs=1e-9)


def test_one_pass_for_all_layers_equals_layer_by_layer_and_batches():
    together = graft_layers(*NETS, IMAGES, [2, 5, 14], products=torch.float64)
    for result in together:
        for data in (IMAGES, IMAGES.split(9)):
            alone = graft(*NETS, data, result.layer, products=torch.float64)
            assert alone.relative == pytest.approx(result.relative, rel=1e-8, abs=1e-10)
    twice = graft_layers(*NETS, IMAGES, [2, 2])
    assert [r.layer for r in twice] == [2, 2]


def test_nets_of_different_widths():
    wide = tiny(3, width=1 / 8, hidden=16)
    for first, second in ((NETS[0], wide), (wide, NETS[0])):
        for result in graft_layers(first, second, IMAGES, [2, 7, 13, 15]):
            joint = result.net.joint(result.layer + 1)
            assert result.net(IMAGES).shape == (48, 10)
            assert joint.weight.shape[0] == second.joint(result.onto).weight.shape[0]
            assert joint.weight.shape[1] == first.features(IMAGES[:1])[result.layer].shape[1]


def test_grafting_onto_a_later_layer_pools_the_features():
    result = graft(*NETS, IMAGES, 1, onto=5)  # 8 x 8 features before a joint on 2 x 2
    x = NETS[0].features(IMAGES, 1)[-1]
    x = functional.max_pool2d(functional.max_pool2d(x, 2), 2)
    g = result.net.joint(2)(x)
    torch.testing.assert_close(NETS[1].tail(5, NETS[1].feature(5, g)), result.net(IMAGES))
    assert result.net.depth == 1 + 1 + (16 - 5)


def test_a_graft_shares_parameters_and_leaves_the_nets_modes_alone():
    first, second = tiny(1).train(), tiny(2).train()
    result = graft(first, second, IMAGES, 3)
    assert first.training
    assert first.activations[13][1].training
    assert not result.net.activations[-1][1].training
    assert result.net.joint(1).weight is first.joint(1).weight
    assert result.net.joint(16).weight is second.joint(16).weight
    expected = graft(first.eval(), second.eval(), IMAGES, 3)  # dropout plays no part
    torch.testing.assert_close(result.net(IMAGES), expected.net(IMAGES), rtol=0, atol=0)


def test_general_chains_graft_too():
    def chain(seed, channels):
        torch.manual_seed(seed)
        joints = [
            nn.Conv2d(3, channels, 5, stride=2),
            nn.Conv2d(channels, 4, 2, groups=2),
            nn.Linear(4, 2, bias=False),
        ]
        return Chain(joints, [nn.Tanh(), nn.Sequential(nn.Tanh(), nn.Flatten())]).double()

    first, second = chain(0, 6), chain(1, 8)
    for result in graft_layers(first, second, IMAGES, products=torch.float64):
        assert 0 < result.relative < 1
        assert result.net(IMAGES).shape == (48, 2)
    assert result.net.joint(3).bias is None


def test_impossible_grafts_are_refused():
    for layer in (0, 16):
        with pytest.raises(ValueError, match=rf"layer {layer} outside 1..15"):
            graft(*NETS, IMAGES, layer)
    with pytest.raises(ValueError, match="layer 1 of net 2 cannot be replaced"):
        graft(*NETS, IMAGES, 1, onto=1)
    with pytest.raises(ValueError, match="convolutional features join convolutional layers"):
        graft(*NETS, IMAGES, 3, onto=15)
    with pytest.raises(ValueError, match="2 x 2 pixels and the joint of net 2 takes 8 x 8"):
        graft(*NETS, IMAGES, 5, onto=2)
    with pytest.raises(ValueError, match="no images"):
        graft(*NETS, [], 3)
    with pytest.raises(ValueError, match="no layers"):
        graft_layers(*NETS, IMAGES, [])


# Algorithm 1


def test_algorithm_1_comes_down_towards_the_exact_solution():
    images = IMAGES.repeat(4, 1, 1, 1)
    exact = graft(*NETS, images, 2, products=torch.float64)
    fresh = graft_fresh(*NETS, images, 2, generator=0)
    long = JointTraining(epochs=30, lr=1e-2, batch=64, pad=None)
    trained = graft_trained(*NETS, images, 2, long, generator=0)
    assert exact.loss <= trained.loss < 0.5 * fresh.loss
    assert trained.loss < exact.loss + 0.2 * (fresh.loss - exact.loss)
    assert trained.loss == pytest.approx(matching_loss(trained, NETS[1], images), rel=1e-12)
    again = graft_trained(*NETS, images, 2, long, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.net.joint(3).weight, trained.net.joint(3).weight)


def test_a_step_of_algorithm_1_is_adams():
    settings = JointTraining(epochs=2, batch=48, pad=None, lr=1e-3, warmup=1)
    result = graft_trained(*NETS, IMAGES, 14, settings, generator=3)
    fresh = graft_fresh(*NETS, IMAGES, 14, generator=3).net.joint(15)
    f, target = (
        NETS[0].features(IMAGES, 14)[-1].detach(),
        NETS[1].preactivations(IMAGES, 15)[-1].detach(),
    )
    w, b = fresh.weight.detach().clone(), fresh.bias.detach().clone()
    first = [torch.zeros_like(w), torch.zeros_like(b)]
    second = [torch.zeros_like(w), torch.zeros_like(b)]
    for step in (1, 2):
        leaves = [w.requires_grad_(), b.requires_grad_()]
        loss = 5 * ((f @ leaves[0].T + leaves[1]) - target).square().mean()
        gradient = torch.autograd.grad(loss, leaves)
        first = [0.9 * m + 0.1 * g for m, g in zip(first, gradient, strict=True)]
        second = [0.999 * v + 0.001 * g**2 for v, g in zip(second, gradient, strict=True)]
        moved = [
            p.detach() - 1e-3 * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
            for p, m, v in zip(leaves, first, second, strict=True)
        ]
        w, b = moved
    # one minibatch of all images an epoch, in another order: sums to rounding
    torch.testing.assert_close(result.net.joint(15).weight, w, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(result.net.joint(15).bias, b, rtol=1e-9, atol=1e-11)


def test_bad_settings_of_algorithm_1_are_refused():
    with pytest.raises(ValueError, match="epochs is 0"):
        JointTraining(epochs=0)
    with pytest.raises(ValueError, match="lr 0"):
        JointTraining(lr=0.0)
    with pytest.raises(ValueError, match="48 images do not fill 1 minibatches of 64"):
        graft_trained(*NETS, IMAGES, 2, generator=0)


# Eq. (6)


def test_equation_6_by_loops():
    result = graft(*NETS, IMAGES, 12)
    got = downstream_distances(result, NETS[1], IMAGES.split(13))
    assert got.layers == (13, 14, 15, 16)
    for place, layer in enumerate(got.layers):
        ours = result.net.features(IMAGES)[layer].detach().numpy().reshape(48, -1, 1)
        theirs = NETS[1].features(IMAGES)[layer].detach().numpy().reshape(48, -1, 1)
        channels, distances = ours.shape[1], []
        for k in range(channels):
            s = sum(np.var(theirs[:, k, p], ddof=1) for p in range(theirs.shape[2]))
            if s > 0:
                difference = sum(np.sum((ours[i, k] - theirs[i, k]) ** 2) for i in range(48)) / 48
                distances.append(math.sqrt(difference) / math.sqrt(s))
        assert got.distance[place] == pytest.approx(np.mean(distances), rel=1e-9)
        assert got.silent[place] == channels - len(distances)


def test_equation_6_on_maps_sums_over_pixels():
    result = graft(*NETS, IMAGES, 1)
    got = downstream_distances(result, NETS[1], IMAGES)
    ours, theirs = (
        f.detach() for f in (result.net.features(IMAGES)[2], NETS[1].features(IMAGES)[2])
    )
    assert theirs.shape[2:] == (4, 4)
    expected = (ours - theirs).square().sum((2, 3)).mean(0).sqrt() / theirs.var(0).sum(
        (1, 2)
    ).sqrt()
    torch.testing.assert_close(got.per_channel[0], expected, rtol=1e-10, atol=0)


def test_equation_6_is_zero_for_the_same_net_and_leaves_silent_channels_out():
    net = tiny(4)
    with torch.no_grad():
        net.joint(3).bias[1] = -1e6
    result = graft(net, net, IMAGES, 1, products=torch.float64)
    got = downstream_distances(result, net, IMAGES)
    assert max(got.distance) < 1e-6
    assert got.silent[1] >= 1
    assert bool(got.per_channel[1][1].isnan())
    with pytest.raises(ValueError, match="got 1 images"):
        downstream_distances(result, net, IMAGES[:1])


# error increase


LABELS = torch.arange(48) % 10


def test_error_increase_counts_what_each_graft_gets_wrong():
    cuts = [1, (2, 4), 12, 14]
    got = error_increase(*NETS, IMAGES, IMAGES, LABELS, cuts)
    wrong = lambda net: (net(IMAGES).argmax(1) != LABELS).double().mean().item()  # noqa: E731
    assert got.base == pytest.approx(wrong(NETS[1]))
    assert got.first == pytest.approx(wrong(NETS[0]))
    assert got.onto == (2, 4, 13, 15)
    for place, cut in enumerate(cuts):
        layer, onto = cut if isinstance(cut, tuple) else (cut, None)
        alone = graft(*NETS, IMAGES, layer, onto=onto)
        assert got.error[place] == pytest.approx(wrong(alone.net) - wrong(NETS[1]), abs=1e-9)
        assert got.relative[place] == pytest.approx(alone.relative, rel=1e-6, abs=1e-9)


def test_a_fresh_joint_matches_worse_than_the_exact_one():
    exact = error_increase(*NETS, IMAGES, IMAGES, LABELS, [2, 9])
    fresh = error_increase(*NETS, IMAGES, IMAGES, LABELS, [2, 9], joint="fresh")
    assert all(f > e for e, f in zip(exact.relative, fresh.relative, strict=True))
    assert all(math.isnan(c) for c in fresh.condition)
    with pytest.raises(ValueError, match="joint is 'none'"):
        error_increase(*NETS, IMAGES, IMAGES, LABELS, joint="none")
    with pytest.raises(ValueError, match="48 samples and targets"):
        error_increase(*NETS, IMAGES, IMAGES, LABELS[:3])


def test_random_features_graft_in_place_of_the_first_layers():
    filters = random_features(NETS[1], 5, 3, generator=1)
    got = error_increase(filters, NETS[1], IMAGES, IMAGES, LABELS, [(1, 6)])
    assert math.isnan(got.first)
    assert 0 < got.relative[0] <= 1
    with pytest.raises(TypeError, match="layer 14 is Linear"):
        random_features(NETS[1], 14, 3, generator=0)
