"""The one model of convolutional nets: adapters from and to nn.Sequential, and every operator on a
Chain, an nn.Sequential and the book's own VGG."""

from __future__ import annotations

import copy
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lib.certificate import module_gradient
from lib.certificate.modules import module_hessian
from lib.depth import insert_layer
from lib.depth.modules import merge_layer
from lib.merge import merge_channels
from lib.merge.batchnorm import fold_batchnorm
from lib.nets import VGG, Chain, flatten, from_sequential, gradient, init, initialise
from lib.symmetry import aligned_distance, permute, rebasin
from lib.width import embed, embedding, merge_channel, split, split_channel

F64 = torch.float64


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 5, channels: int = 3, side: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(n, channels, side, side, generator=seeded(seed), dtype=F64)


def vgg(seed: int = 0) -> VGG:
    design = {"width": 1 / 16, "side": 8, "pools": 3, "hidden": 7, "classes": 4}
    net = initialise(VGG(**design), generator=seed).double().eval()
    for joint in net.joints:
        nn.init.normal_(joint.bias, std=0.1, generator=seeded(seed))
    return net


def gap(a: nn.Module, b: nn.Module, x: Tensor) -> float:
    """The largest difference of outputs, relative to their size."""
    with torch.no_grad():
        ours, theirs = a(x), b(x)
    return float((ours - theirs).abs().max() / theirs.abs().max())


# the book's VGG


@pytest.mark.parametrize("layer", [1, 5, 13, 14, 15])
def test_the_books_vgg_is_split_and_merged_back_bit_for_bit(layer):
    net, x = vgg(), images()
    wide = split_channel(net, layer, 2, 0.25)
    assert type(wide) is Chain
    assert wide.widths[layer] == net.widths[layer] + 1
    assert gap(wide, net, x) < 1e-14
    back = merge_channel(wide, layer, 2)
    assert back.widths == net.widths
    # 0.75 w + 0.25 w is w up to one rounding
    assert gap(back, net, x) < 1e-14
    for ours, theirs in zip(back.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-15, atol=0)


def test_the_books_vgg_is_pruned_to_its_own_widths_after_splitting():
    net, x = vgg(), images()
    wide = net
    for layer, channel in ((1, 0), (4, 3), (13, 1), (15, 2)):
        wide = split_channel(wide, layer, channel, 0.3)
    done = merge_channels(wide, x, cosine=1.0)
    assert type(done.net) is Chain
    assert done.net.widths == net.widths
    assert done.change <= 1e-13 * done.size
    assert done.agreement == 1.0


def test_the_books_vgg_is_lifted_in_depth_and_taken_back():
    net, x = vgg(), images()
    deep = insert_layer(net, x, 15, 9, "leaky_relu", generator=0)
    assert deep.depth == net.depth + 1
    assert gap(deep, net, x) < 1e-12
    assert gap(merge_layer(deep, x, 15), net, x) < 1e-12


def test_the_books_vgg_as_a_sequential_and_back():
    net, x = vgg(), images()
    flat = net.to_sequential()
    assert gap(flat, net, x) == 0
    back = Chain.from_sequential(flat)
    assert gap(back, net, x) == 0
    assert back.widths == net.widths
    orders = [torch.randperm(m, generator=seeded(3)).tolist() for m in net.widths[1:-1]]
    assert gap(permute(flat, orders), net, x) < 1e-12
    assert type(permute(net, orders)) is VGG
    assert gap(rebasin(net, permute(net, orders)), net, x) == 0
    assert aligned_distance(net, permute(flat, orders)).distance == (0.0,) * 12


# every net of modules that are understood: preserved, or refused in words


def activations(draw: st.DrawFn) -> list[nn.Module]:
    made = draw(
        st.sampled_from(
            [nn.ReLU(), nn.ReLU(inplace=True), nn.Tanh(), nn.LeakyReLU(0.2), nn.GELU(), nn.PReLU()]
        )
    )
    return [copy.deepcopy(made)]


@st.composite
def sequentials(draw: st.DrawFn) -> nn.Sequential:
    """Convolutions, then dense layers, with norms, PReLUs, pooling and dropout between, in mixed
    modes."""
    side, channels, modules = 8, 2, []
    if draw(st.booleans()):
        modules += [nn.LeakyReLU(0.5, inplace=True)]
    for _ in range(draw(st.integers(1, 2))):
        width = draw(st.integers(2, 4))
        modules += [nn.Conv2d(channels, width, 3, padding=1, bias=draw(st.booleans()))]
        channels = width
        if draw(st.booleans()):
            modules += [nn.BatchNorm2d(channels, affine=draw(st.booleans()))]
        modules += [nn.PReLU(channels)] if draw(st.booleans()) else activations(draw)
        if draw(st.booleans()):
            modules += [nn.Sequential(nn.AvgPool2d(2))]
            side //= 2
    modules += [nn.Flatten()]
    inputs = channels * side**2
    if draw(st.booleans()):
        modules += [nn.BatchNorm1d(inputs)]
    for _ in range(draw(st.integers(1, 2))):
        width = draw(st.integers(2, 4))
        modules += [nn.Dropout(0.5).eval(), nn.Linear(inputs, width)]
        inputs = width
        if draw(st.booleans()):
            modules += [nn.BatchNorm1d(width)]
        modules += activations(draw)
    net = nn.Sequential(*modules, nn.Linear(inputs, 2)).double()
    g = seeded(draw(st.integers(0, 99)))
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(0.7 * torch.randn(p.shape, generator=g, dtype=F64))
        net(3 + images(16, 2, seed=1))  # running statistics
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.train(draw(st.booleans()))
        if isinstance(module, nn.Dropout):
            module.eval()
    return net


def state(net: nn.Module) -> tuple[object, ...]:
    tensors = {name: t.clone() for name, t in net.state_dict().items()}
    modes = [m.training for m in net.modules()]
    return repr(net), modes, {n: t.tolist() for n, t in tensors.items()}


def modes_by_kind(net: nn.Sequential) -> list[tuple[str, bool]]:
    return [
        (type(m).__name__, m.training) for m in net.modules() if not isinstance(m, nn.Sequential)
    ]


@settings(max_examples=40, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate))
@given(sequentials(), st.data())
def test_nets_are_preserved_by_every_operator_and_left_alone(net, data):
    chain = Chain.from_sequential(net)
    layer = data.draw(st.integers(1, chain.depth - 1))
    channel = data.draw(st.integers(0, chain.widths[layer] - 1))
    orders = [
        torch.randperm(m, generator=seeded(data.draw(st.integers(0, 9)))).tolist()
        for m in chain.widths[1:-1]
    ]
    x = images(7, 2)
    before, kept, random = state(net), x.clone(), torch.get_rng_state()
    with torch.no_grad():
        wanted = copy.deepcopy(net)(x.clone())
    made = {
        "chain": chain,
        "sequential": chain.to_sequential(),
        "split": split_channel(net, layer, channel, -0.6),
        "merged": merge_channel(split_channel(net, layer, channel, -0.6), layer, channel),
        "permuted": permute(net, orders),
        "rebasin": rebasin(net, permute(net, orders)),
        "deep": insert_layer(net, x, chain.depth, 6, "relu", generator=0),
    }
    assert torch.equal(x, kept)
    assert state(net) == before
    assert torch.equal(torch.get_rng_state(), random)
    for name, other in made.items():
        with torch.no_grad():
            found = copy.deepcopy(other)(x.clone())
        size = float(wanted.abs().max())
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10 * (1 + size), msg=name)
        assert other.training == net.training
        if name not in ("chain", "deep"):
            assert modes_by_kind(other) == modes_by_kind(net), name
    folded, refusal = None, ""
    try:
        folded = merge_channels(net, x, cosine=1.0)
    except (TypeError, ValueError) as error:
        refusal = str(error)
    if folded is None:
        assert any(word in refusal for word in ("PReLU", "training mode", "normalisation"))
    else:
        assert folded.change <= 1e-9 * (1 + folded.size)
    assert state(net) == before
    assert torch.equal(x, kept)


# what is kept of a net


def test_preactivations_survive_activations_in_place():
    joints = [nn.Linear(4, 5), nn.Linear(5, 3), nn.Linear(3, 2)]
    safe, inplace = (Chain(joints, [nn.ReLU(inplace=b), nn.ReLU(inplace=b)]) for b in (False, True))
    x = torch.randn(9, 4, generator=seeded(0))
    for kind in ("preactivations", "features"):
        pairs = zip(getattr(safe, kind)(x), getattr(inplace, kind)(x), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    first = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 2))
    kept = x.clone()
    Chain.from_sequential(first)(x)
    assert torch.equal(x, kept)


def test_what_stands_before_the_first_and_after_the_last_layer_stays():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2), nn.LogSoftmax(1))
    chain, x = Chain.from_sequential(net), torch.randn(5, 2, 2, generator=seeded(0))
    assert torch.equal(chain(x), net(x))
    assert torch.equal(chain.features(x)[0], x.flatten(1))
    assert torch.equal(chain.features(x)[-1], net(x))
    assert torch.equal(chain.preactivations(x)[-1], net[:4](x))
    assert torch.equal(chain.tail(0, chain.before(x)), net(x))
    assert [type(m) for m in chain.to_sequential()] == [type(m) for m in net]


def test_nothing_is_shared_and_nothing_trainable_changes():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    net[0].weight.requires_grad_(False)
    for other in (
        Chain.from_sequential(net),
        split_channel(net, 1, 0, 0.5),
        permute(net, {1: [2, 0, 1]}),
    ):
        assert not {p.data_ptr() for p in net.parameters()} & {
            p.data_ptr() for p in other.parameters()
        }
        assert [p.requires_grad for p in other.parameters()] == [False, True, True, True]


# refused by name, with what to do


class Residual(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class Scaled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 2


class OddChain(Chain):
    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x)


class OddReLU(nn.ReLU):
    pass


def patched() -> nn.Sequential:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    net[0].forward = lambda x: x
    return net


def hooked(kind: str) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    getattr(net[2], kind)(lambda *_: None)
    return net


def around(*between: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 2), *between, nn.Linear(2, 2))


REFUSED = [
    (Residual(nn.Linear(2, 2)), "net is Residual: expected a plain nn.Sequential"),
    (around(Residual(nn.Linear(2, 2))), r"not understood: 1 \(Residual\)"),
    (around(OddReLU(), Scaled(2, 2)), r"not understood: 1 \(OddReLU\), 2 \(Scaled\)"),
    (around(nn.Conv1d(2, 2, 1)), r"1 \(Conv1d\)"),
    (around(nn.BatchNorm3d(2)), r"1 \(BatchNorm3d\)"),
    (around(nn.SyncBatchNorm(2)), r"1 \(SyncBatchNorm\)"),
    (around(nn.LazyLinear(2)), "module 1 has hooks"),
    (patched(), "module 0 has hooks, parametrizations or a forward of its own"),
    (hooked("register_forward_hook"), "module 2 has hooks"),
    (hooked("register_forward_pre_hook"), "module 2 has hooks"),
    (hooked("register_full_backward_hook"), "module 2 has hooks"),
    (around(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))), "module 1 has hooks, param"),
    (around(nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2))), "module 1 has hooks, par"),
    (
        OddChain([nn.Linear(2, 2), nn.Linear(2, 2)], [nn.ReLU()]),
        "OddChain has a forward of its own",
    ),
    (nn.Linear(2, 2), "net is Linear: expected"),
]


@pytest.mark.parametrize(("net", "message"), REFUSED)
@pytest.mark.parametrize(
    "operator",
    [
        lambda net, x: split_channel(net, 1, 0, 0.5),
        lambda net, x: fold_batchnorm(net.eval()),
        lambda net, x: insert_layer(net, x, 1, 4, "relu", generator=0),
        lambda net, x: permute(net, {1: [1, 0]}),
        lambda net, x: aligned_distance(net, net, 1),
    ],
)
def test_modules_that_are_not_understood_are_refused_by_name(net, message, operator):
    with pytest.raises(TypeError, match=message):
        operator(copy.deepcopy(net) if not hasattr(net, "0") else net, torch.ones(3, 2))


@pytest.mark.parametrize("net", [net for net, _ in REFUSED])
@pytest.mark.parametrize(
    "operator",
    [
        lambda net, x: merge_channels(net, x, cosine=1.0).net,
        lambda net, x: rebasin(net, net),
    ],
)
def test_modules_that_tracing_follows_are_preserved_and_others_refused(net, operator):
    net, x = net.eval(), torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    changed, refusal = net, "channels"
    try:
        changed = operator(net, x)
    except (TypeError, ValueError) as error:
        refusal = str(error)
    assert re.search(r"expected|not understood|hooks|channels|of its own", refusal)
    if changed is not net:  # not all of those that are refused read such an x
        torch.testing.assert_close(changed(x), net(x))


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(Scaled(2, 3), nn.ReLU(), nn.Linear(3, 1)),
        nn.Sequential(nn.Linear(2, 3), OddReLU(), nn.Linear(3, 1)),
        hooked("register_forward_hook"),
        around(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))),
    ],
)
def test_from_sequential_to_an_mlp_refuses_the_same(net):
    with pytest.raises(TypeError, match="not understood|has hooks"):
        from_sequential(net)


def test_shared_joints_and_depthwise_convolutions_are_refused():
    tied = nn.Linear(4, 4)
    net = Chain([nn.Linear(3, 4), tied, tied, nn.Linear(4, 2)], [nn.ReLU()] * 3)
    with pytest.raises(ValueError, match="weight of module joints.2 is also weight of"):
        permute(net, [[1, 2, 3, 0]] * 3)
    deep = Chain(
        [nn.Conv2d(1, 9, 3), nn.Conv2d(9, 9, 3, groups=9), nn.Conv2d(9, 2, 1)], [nn.ReLU()] * 2
    )
    with pytest.raises(TypeError, match="layer 2 is a Conv2d with 9 groups"):
        permute(deep, {1: list(range(9))})
    with pytest.raises(TypeError, match="layer 2 is a Conv2d with 9 groups"):
        aligned_distance(deep, deep, 2)


def test_a_normalisation_on_another_axis_than_the_layer_is_refused():
    x = torch.randn(32, 4, 5, generator=seeded(0))
    net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    net(x)
    with pytest.raises(ValueError, match=r"layer 1 is Linear and reads \(1, 4, 5\)"):
        merge_channels(net.eval(), x)
    wide = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(6, 2)).eval()
    with pytest.raises(TypeError, match="4 features follows layer 1 of 6 outputs: it acts on ano"):
        fold_batchnorm(wide)


def test_a_divisor_of_ones_own_keeps_constants_where_they_are():
    pool = nn.AvgPool2d(2, divisor_override=1)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), pool, nn.Conv2d(3, 2, 2)).double().eval()
    with torch.no_grad():
        net[0].weight[0], net[0].bias[0] = 0, 1.0
    done = merge_channels(net, images(8, 1, 6), cosine=1.0)
    assert done.change <= 1e-12 * done.size
    assert done.net[0].out_channels == 3


def test_a_leaky_relu_of_slope_0_is_a_relu():
    net = nn.Sequential(nn.Linear(2, 3), nn.LeakyReLU(0.0), nn.Linear(3, 1))
    assert repr(from_sequential(net)) == "MLP(2-3-1, relu, 13 parameters)"


# splitting needs nothing that is compiled


def test_splitting_imports_no_kernels():
    code = (
        "import sys, lib.width, lib.symmetry, lib.nets; from lib.width import split;"
        "print([m for m in ('numba', 'matplotlib', 'sklearn', 'triton') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# what callers do with their data and their nets


@pytest.mark.parametrize("random", [nn.AlphaDropout(0.5), nn.FeatureAlphaDropout(0.2), nn.RReLU()])
def test_active_randomness_before_the_layer_is_refused_with_one_type(random):
    net = nn.Sequential(nn.Linear(3, 4), nn.SELU(), random, nn.Linear(4, 2))
    x = torch.randn(8, 3, generator=seeded(0))
    with pytest.raises(ValueError, match="is active, its outputs are random: call .eval()"):
        insert_layer(net, x, 2, 5, "relu", generator=0)
    with pytest.raises(ValueError, match="is active, its outputs are random: call .eval()"):
        fold_batchnorm(net)
    deep = insert_layer(net.eval(), x, 2, 5, "relu", generator=0)
    torch.testing.assert_close(deep(x), net(x))


def test_a_frozen_norm_stays_frozen_while_the_net_trains():
    torch.manual_seed(0)
    x = torch.randn(32, 3)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    net(2 * x + 1)
    net[1].eval()
    wanted = net(x)
    deep = insert_layer(net, x, 2, 5, "relu", generator=0)
    assert [m.training for m in deep] == [True, False, True, True, True, True]
    torch.testing.assert_close(deep(x), wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(split_channel(net, 1, 2, 0.3)(x), wanted)


def test_data_that_require_gradients_and_nets_under_no_grad():
    x, y = (torch.randn(6, 2, generator=seeded(s), dtype=F64).requires_grad_() for s in (0, 1))
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    mlp = from_sequential(net)
    wanted = module_hessian(net, x.detach(), y.detach())
    with torch.no_grad():
        torch.testing.assert_close(module_hessian(net, x, y), wanted)
        torch.testing.assert_close(
            flatten(gradient(mlp, x, y)), module_gradient(net, x, y), rtol=1e-12, atol=1e-15
        )
    assert x.grad is None
    assert all(p.grad is None for p in net.parameters())


def test_half_precision_is_split_permuted_and_merged():
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))
    for dtype in (torch.bfloat16, torch.float16):
        half = copy.deepcopy(net).to(dtype).eval()
        x = images(4, 1, 6).to(dtype)
        wide = split_channel(half, 1, 1, 0.25)
        assert wide[0].weight.dtype == dtype
        done = merge_channels(wide, x, cosine=1.0)
        assert done.net[0].out_channels == 3
        assert done.change <= 0.1 * (1 + done.size)
        assert permute(half, {1: [2, 1, 0]})[0].weight.dtype == dtype


def test_numbers_of_numpy_are_numbers():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    wide = split_channel(net, np.int64(1), np.int32(2), np.float32(0.5))
    assert torch.equal(wide[2].weight, split_channel(net, 1, 2, 0.5)[2].weight)
    mlp = from_sequential(net)
    assert torch.equal(
        flatten(split(mlp, np.int64(1), np.int64(2), np.float64(0.5))),
        flatten(split(mlp, 1, 2, 0.5)),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_shares_that_add_up_to_1_are_told_by_the_rounding_of_the_net(dtype, scale):
    net = init((64, 32, 10), generator=0, dtype=dtype).map(lambda p: scale * p)
    for steps in ([(1, 0, 0.3)], [(1, 0, 0.3), (1, 0, -2.7), (1, 32, 0.1)]):
        wide = embed(net, steps)
        eps = 8 * torch.finfo(dtype).eps  # the shares multiply in another order
        torch.testing.assert_close(
            flatten(embedding(net, steps)(net)), flatten(wide), rtol=eps, atol=0
        )
