"""Shapes, initial weights, regulariser, images and schedule of the nets of Gu et al. (2020)."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from lib.nets import VGG, Chain, Design, initialise
from lib.nets.initialisers import INITIALISERS, draw_joint
from lib.train.sgd import Recipe, to_images
from lib.train.sgd.images import crop, draw_crops
from lib.train.sgd.regulariser import l12, l12_paper, layer_penalties, penalty

QUICK = settings(max_examples=20, deadline=None, derandomize=True)


def tiny(seed=0, **fields):
    return initialise(VGG(**({"width": 1 / 16, "hidden": 16} | fields)), generator=seed).eval()


# shapes


@pytest.mark.parametrize(("depth", "convolutions"), [(16, 13), (19, 16)])
def test_full_width_has_the_published_number_of_parameters(depth, convolutions):
    with torch.device("meta"):
        net = VGG(depth=depth)
    conv = {16: 14_714_688, 19: 20_024_384}[
        depth
    ]  # Simonyan and Zisserman's convolutions, biases included
    fc = 512 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 10 + 10
    assert sum(p.numel() for p in net.parameters()) == conv + fc
    assert (net.n_conv, net.depth) == (convolutions, convolutions + 3)


def test_forward_equals_the_layers_written_out():
    net, x = tiny(width=1 / 32).double(), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    f = x
    for layer in range(1, 17):
        w, b = net.joint(layer).weight, net.joint(layer).bias
        if layer <= 13:
            f = functional.conv2d(f, w, b, padding=1).clamp(min=0)
            f = (
                f.unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2))
                if layer in (2, 4, 7, 10, 13)
                else f
            )
            f = f.reshape(2, -1) if layer == 13 else f
        else:
            f = f @ w.T + b
            f = f.clamp(min=0) if layer < 16 else f
        torch.testing.assert_close(
            net.features(x)[layer], f, rtol=1e-12, atol=1e-12
        )  # same sums, other order
    torch.testing.assert_close(net(x), f, rtol=1e-12, atol=1e-12)


def test_the_tail_from_any_feature_is_the_output():
    net, x = tiny(side=16, pools=4), torch.randn(3, 3, 16, 16)
    for layer, f in enumerate(net.features(x)):
        assert torch.equal(net.tail(layer, f), net(x))


def test_fewer_pools_flatten_more_pixels():
    net = VGG(width=1 / 16, side=8, pools=2, hidden=4)
    assert net.joint(14).in_features == 32 * 2 * 2
    assert net(torch.zeros(1, 3, 8, 8)).shape == (1, 10)


def test_dropout_is_before_each_fully_connected_layer_only():
    net = VGG(width=1 / 16)
    where = [
        l
        for l, h in enumerate(net.activations, 1)
        if any(isinstance(m, nn.Dropout) and m.p == 0.5 for m in h)
    ]
    assert where == [13, 14, 15]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depth": 18}, "depth is 18"),
        ({"width": 0.0}, "width multiplier is 0.0"),
        ({"side": 28}, r"side is 28 pixels: expected a multiple of 2\^pools = 32"),
        ({"pools": 6}, "pools is 6"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"classes": 0}, "classes 0"),
    ],
)
def test_impossible_designs_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        VGG(**fields)


def test_chains_refuse_bad_layers_and_counts():
    net = tiny()
    for call in (
        lambda: net.joint(17),
        lambda: net.joint(0),
        lambda: net.tail(17, None),
        lambda: net.feature(0, None),
    ):
        with pytest.raises(ValueError, match=r"layer \d+ outside"):
            call()
    with pytest.raises(ValueError, match="1 joints and 1 activations"):
        Chain([nn.Linear(1, 1)], [nn.ReLU()])
    with pytest.raises(ValueError, match="one or the other"):
        VGG(Design(), width=2.0)


# initial weights


@pytest.mark.parametrize("how", INITIALISERS)
def test_initial_variances(how):
    net = initialise(VGG(width=0.5, hidden=300), how, generator=3)
    for layer in (2, 4, 5, 8, 11, 12):
        w = net.joint(layer).weight
        factor = 1.0 if how == "code_uniform" and layer not in (4, 8, 12) else 2.0
        # 1% of the truncation constant 1.3, and 5 standard errors of a variance (kurtosis <= 3)
        tolerance = 0.01 + 5 * math.sqrt(2 / w.numel())
        assert w.var().item() * w[0].numel() == pytest.approx(factor, rel=tolerance)
        assert abs(w.mean().item()) < 5 * w.std().item() / math.sqrt(w.numel())
    for layer in (14, 15, 16):
        w = net.joint(layer).weight
        bound = math.sqrt(6 / sum(w.shape))
        assert 0.98 * bound < w.abs().max() <= bound
    assert all(bool((j.bias == 0).all()) for j in net.joints)


def test_shapes_of_the_initial_distributions():
    by = {
        how: initialise(VGG(width=0.5), how, generator=0).joint(6).weight.flatten().double()
        for how in INITIALISERS
    }
    n = 128 * 9
    assert by["code_normal"].abs().max() <= 2 * math.sqrt(
        2.6 / n
    )  # truncated at two standard deviations
    assert by["he_normal"].abs().max() > 3 * math.sqrt(2 / n)  # not truncated: 147456 draws
    for how, bound in (("code_uniform", math.sqrt(3 / n)), ("he_uniform", math.sqrt(6 / n))):
        assert 0.999 * bound < by[how].abs().max() <= bound * (1 + 1e-6)  # float32 bound


def test_a_seed_fixes_the_draws_and_seeds_differ():
    a, b, c = (tiny(seed=s).joint(3).weight for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_unknown_initialisers_are_refused():
    with pytest.raises(ValueError, match="no initialiser 'xavier'"):
        initialise(VGG(width=1 / 16), "xavier", generator=0)
    with pytest.raises(ValueError, match="no initialiser 'xavier'"):
        draw_joint(nn.Conv2d(1, 1, 3), "xavier", layer=1, generator=torch.Generator())


# regulariser


@pytest.mark.parametrize("shape", [(5, 4, 3, 3), (6, 3, 1, 2), (5, 4)])
def test_l12_by_loops(shape):
    w = np.random.default_rng(0).normal(size=shape)
    outputs, inputs = shape[:2]
    kernel = int(np.prod(shape[2:]))
    code = paper = 0.0
    for k in range(inputs):
        total = sum(np.abs(w[j, k]).sum() for j in range(outputs))
        code += (math.sqrt(inputs) * total / (outputs * kernel)) ** 2 / inputs
        paper += (
            sum(np.abs(inputs * w[j, k]).sum() for j in range(outputs)) / outputs
        ) ** 2 / inputs
    # float64 sums in another order
    assert l12(torch.tensor(w)).item() == pytest.approx(code, rel=1e-12)
    assert l12_paper(torch.tensor(w)).item() == pytest.approx(paper, rel=1e-12)
    assert paper == pytest.approx(inputs * kernel**2 * code, rel=1e-12)


@QUICK
@given(scale=st.floats(-3, 3), seed=st.integers(0, 99))
def test_l12_is_a_squared_norm_blind_to_permutations(scale, seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(4, 3, 2, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    norm = lambda w: l12(w).sqrt().item()  # noqa: E731
    assert norm(scale * a) == pytest.approx(abs(scale) * norm(a), rel=1e-12, abs=1e-12)
    assert norm(a + b) <= norm(a) + norm(b) + 1e-12
    assert l12(a[torch.randperm(4)][:, torch.randperm(3)]).item() == pytest.approx(
        l12(a).item(), rel=1e-12
    )


def test_penalties_of_a_net():
    net = tiny()
    code = layer_penalties(net, "l12")
    assert len(code) == 16
    assert penalty(net).item() == pytest.approx(
        sum(p.item() for p in code), rel=1e-6
    )  # float32 sums
    paper = layer_penalties(net, "l12_paper")
    last = net.joint(16).weight
    assert paper[-1].item() == pytest.approx(
        16 * (last**2).sum().item(), rel=1e-5
    )  # (1/m) sum (m w)^2 with m = 16
    assert paper[1].item() == pytest.approx(4 * 81 * code[1].item(), rel=1e-5)
    decay = sum((p.detach().double() ** 2).sum().item() for p in net.parameters()) / 2
    assert penalty(net, "l2").item() == pytest.approx(decay, rel=1e-5)
    assert penalty(net, "none").item() == 0
    with pytest.raises(ValueError, match="no penalty 'l1'"):
        penalty(net, "l1")


# images


def test_images_are_standardised_by_channel_and_resized():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3)).astype(np.uint8)
    x = to_images(pixels, side=16)
    expected = pixels.astype(np.float64).transpose(0, 3, 1, 2)
    expected = (expected - expected.mean((0, 2, 3), keepdims=True)) / expected.std(
        (0, 2, 3), keepdims=True
    )
    np.testing.assert_allclose(x.numpy(), expected, atol=2e-6)  # float32
    larger = to_images(pixels[..., 0], side=32)
    assert larger.shape == (20, 1, 32, 32)
    assert larger.mean().abs() < 1e-5
    assert (larger.std(correction=0) - 1).abs() < 1e-5


def test_bad_images_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 4\): expected \(n, height, width\)"):
        to_images(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="channel 1 of the images is constant"):
        to_images(np.stack([np.arange(32).reshape(2, 4, 4), np.ones((2, 4, 4))], -1), side=4)
    with pytest.raises(ValueError, match=r"expected \(2, 3\)"):
        crop(torch.zeros(2, 1, 4, 4), torch.zeros(1, 3, dtype=torch.int64), 1)


def test_crops_against_numpy():
    generator = torch.Generator().manual_seed(0)
    x, crops = torch.randn(30, 2, 6, 6, generator=generator), draw_crops(30, 3, generator)
    got = crop(x, crops, 3).numpy()
    for image, (down, right, flip), out in zip(x.numpy(), crops.tolist(), got, strict=True):
        padded = np.pad(image, ((0, 0), (3, 3), (3, 3)))
        cut = padded[:, down : down + 6, right : right + 6]
        np.testing.assert_array_equal(out, cut[:, :, ::-1] if flip else cut)
    assert set(crops[:, :2].flatten().tolist()) == set(range(6))
    assert set(crops[:, 2].tolist()) == {0, 1}


# schedule


def test_the_rate_follows_the_authors_schedulers():
    recipe, steps = Recipe(epochs=200, warmup=1), 7
    rate, expected = 1.0, []
    for epoch in range(
        200
    ):  # their MultiStepLR returns the rate and then checks the milestone, counted from 1
        expected += [0.01 * rate * ((s + 1) / steps if epoch < 1 else 1) for s in range(steps)]
        rate *= 0.2 if epoch + 1 in (60, 120, 180) else 1
    got = [recipe.lr_at(e, s, steps) for e in range(200) for s in range(steps)]
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"lr": 0.0}, "lr 0.0"),
        ({"momentum": 1.0}, "momentum 1.0"),
        ({"milestones": (5, 2)}, "milestones"),
        ({"penalty": "lasso"}, "penalty 'lasso'"),
        ({"weight": -1.0}, "weight -1.0"),
        ({"pad": -1}, "pad is -1"),
    ],
)
def test_impossible_recipes_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**fields)


def test_minibatches_must_fill():
    assert Recipe().steps_for(50_000) == 781
    assert Recipe(steps=780).steps_for(50_000) == 780
    for recipe, images in ((Recipe(), 63), (Recipe(steps=2), 100)):
        with pytest.raises(ValueError, match="do not fill"):
            recipe.steps_for(images)
