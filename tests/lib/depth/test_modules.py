"""Lifting in `nn.Sequential` models: batch normalisation and residual blocks; which of them are
critical (B9, B13)."""

from copy import deepcopy

import pytest
import torch
from draws import seeded
from torch import nn
from torch.func import functional_call, jacrev

from lib.curvature import inertia
from lib.depth import (
    insert_block,
    insert_layer,
    linearised_block,
    modules,
    null_block,
    stream_at,
    zero_output_block,
)
from lib.depth.modules import merge_layer
from lib.depth.pieces import place
from lib.depth.residual import ResidualBlock
from lib.nets.activations import get
from lib.nets.sequential import activation_of


def data(n: int, width: int, seed: int = 0):
    return torch.randn(n, width, generator=seeded(1000 + seed), dtype=torch.float64)


def as_function(module: nn.Module, x):
    """theta -> outputs, and theta, with batch statistics but without touching the running ones."""
    names = [name for name, _ in module.named_parameters()]
    shapes = [p.shape for p in module.parameters()]
    theta = torch.cat([p.detach().flatten() for p in module.parameters()])
    buffers = {name: b.clone() for name, b in module.named_buffers()}

    def outputs(v):
        parts = v.split([s.numel() for s in shapes])
        values = {k: p.reshape(s) for k, p, s in zip(names, parts, shapes, strict=True)}
        return functional_call(module, (values, {k: b.clone() for k, b in buffers.items()}), (x,))

    return outputs, theta


def critical_y(module, x, residual: float):
    """y = f(x) - r with J^T r = 0: the module becomes an exact critical point of the MSE."""
    outputs, theta = as_function(module, x)
    jacobian = jacrev(lambda v: outputs(v).flatten())(theta)
    u, s, _ = torch.linalg.svd(jacobian, full_matrices=True)
    null = u[:, int((s > 1e-12 * s[0]).sum()) :]
    r = null @ (null.T @ torch.randn(len(null), generator=seeded(7), dtype=x.dtype))
    f = outputs(theta)
    return f - (residual * (f.numel() ** 0.5) / r.norm() * r).reshape(f.shape)


def slope_and_curvature(module, x, y):
    outputs, theta = as_function(module, x)

    def loss(v):
        return ((outputs(v) - y) ** 2).mean()

    h = jacrev(jacrev(loss))(theta)
    return jacrev(loss)(theta), (h + h.mT) / 2


def plain(seed: int = 0, norm: bool = False):
    """2 - 3 - 2, optionally batch-normalised before the activation and again before the output."""
    torch.manual_seed(seed)
    middle = [nn.BatchNorm1d(3)] if norm else []
    net = nn.Sequential(nn.Linear(2, 3), *middle, nn.LeakyReLU(0.3), nn.Linear(3, 2)).double()
    for p in net.parameters():
        p.data += 0.3 * torch.randn_like(p)
    return net


def norm_gap(a, b):
    return float((a - b).detach().abs().max())


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("model_norm", [False, True])
@pytest.mark.parametrize("index", ["first", "last"])
def test_theorem_lift_through_batch_normalisation_is_critical(index, model_norm, normalise):
    """Function, criticality, n+ and n- stay and the corank grows by the added parameters, BatchNorm
    or not."""
    x, net = data(14, 2), plain(norm=model_norm)
    y = critical_y(net, x, 1.0)
    slope, h = slope_and_curvature(net, x, y)
    assert slope.norm() < 1e-12
    layer, place_of = (1, 0) if index == "first" else (2, len(net) - 1)
    deep = insert_layer(net, x, layer, 4, nn_sigma(net), normalise=normalise, generator=seeded(1))
    assert norm_gap(deep(x), net(x)) < 1e-12
    deep_slope, deep_h = slope_and_curvature(deep, x, y)
    assert deep_slope.norm() < 1e-10
    before, after = inertia(h).counts, inertia(deep_h).counts
    assert before[0] > 0  # a saddle: two outputs
    assert after == (before[0], before[1] + deep_h.shape[0] - h.shape[0], before[2])
    back = merge_layer(deep, x, layer)
    assert norm_gap(back[place_of].weight, net[place_of].weight) < 1e-12
    assert norm_gap(back[place_of].bias, net[place_of].bias) < 1e-12
    assert [type(m) for m in back] == [type(m) for m in net]


def nn_sigma(net):
    return activation_of(next(m for m in net if isinstance(m, nn.LeakyReLU)))


def test_batch_normalised_lift_needs_a_shift_beyond_its_gain():
    """B9: with gain 1 and shift 0 the normalised pre-activation has mean 0, so no neuron stays in
    one piece."""
    x, net = data(14, 2), plain()
    deep = insert_layer(net, x, 2, 4, "relu", normalise=True, generator=0)
    norm = deep[3]
    z = stream_at(deep, 3, x)
    hat = (z - z.mean(0)) / (z.var(0, unbiased=False) + norm.eps).sqrt()
    assert (norm.bias > (-norm.weight * hat).amax(0)).all()
    plain_norm = nn.BatchNorm1d(4).double()
    for sigma in ("relu", "leaky_relu", "elu"):
        assert (place(plain_norm(data(9, 4) * 100 + 50).detach(), get(sigma)) == -1).all()


def test_evaluation_mode_agrees_and_running_statistics_are_untouched():
    x, net = data(14, 2), plain(norm=True)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    deep = insert_layer(net, x, 2, 5, "elu", normalise=True, generator=0)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    f = stream_at(deep, 3, x)
    trained = deepcopy(deep)[3:](f)  # a copy: this moves running statistics
    assert norm_gap(deep.eval()[3:](f), trained) < 1e-12
    quiet = insert_layer(net.eval(), x, 2, 5, "elu", normalise=True, generator=0)
    assert not quiet.training
    assert norm_gap(quiet(x), net(x)) < 1e-12


# Errors at the stream are about 1e-2 here, gradients that vanish exactly come out below 1e-14.
VISIBLE = 1e-6


def residual_model(seed: int = 0, bias: bool = True):
    """Linear - sigma - Linear (writes the stream) - two residual blocks - Linear (reads it);
    `bias`: of the stream."""
    torch.manual_seed(seed)
    blocks = [ResidualBlock(3, 2, "tanh", bias=bias) for _ in range(2)]
    ends = nn.Linear(3, 3, bias=bias), nn.Linear(3, 1, bias=bias)
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), ends[0], *blocks, ends[1]).double()
    for p in net.parameters():
        p.data += 0.3 * torch.randn_like(p)
    return net


@pytest.mark.parametrize("index", [3, 4, 5])
def test_zero_output_block_keeps_the_function_but_is_not_critical(index):
    """B13: dR/dV = sum e sigma(U x + b)^T does not vanish."""
    x, net = data(80, 2), residual_model()
    y = critical_y(net, x, 1.0)
    block = zero_output_block(3, 5, "elu", generator=0, dtype=torch.float64)
    deep = insert_block(net, index, block)
    assert torch.equal(deep(x), net(x))
    assert slope_and_curvature(net, x, y)[0].norm() < 1e-12
    assert slope_and_curvature(deep, x, y)[0].norm() > VISIBLE


def moments(net, index, x, y):
    """sum e and sum e x^T of the stream that module `index` receives."""
    stream = stream_at(net, index, x).requires_grad_()
    e = torch.autograd.grad(((net[index:](stream) - y) ** 2).mean(), stream)[0]
    return e.sum(0), e.T @ stream.detach()


def test_theorem_moments_are_the_same_along_the_stream():
    """sum e_l and sum e_l x_l^T agree before and after a block; with biases both are 0, though e_l
    itself is not."""
    x = data(80, 2)
    for bias in (True, False):
        net = residual_model(bias=bias)
        y = critical_y(net, x, 1.0)
        before, *after = (moments(net, index, x, y) for index in (3, 4, 5))
        for later in after:
            assert norm_gap(before[0], later[0]) < 1e-13
            assert norm_gap(before[1], later[1]) < 1e-13
        assert (before[0].abs().max() < 1e-13) == bias
        assert before[1].abs().max() < 1e-13  # zero at the reader, with or without a bias


@pytest.mark.parametrize("index", [3, 4, 5])
def test_theorem_null_block_is_critical_on_a_stream_with_biases(index):
    """B13: U = V = 0, c = 0, any b, in front of a block (3) or of the reader (4)."""
    x, net = data(80, 2), residual_model()
    y = critical_y(net, x, 1.0)
    for bias in (1.0, -0.7, 0.0):
        deep = insert_block(net, index, null_block(3, 5, "elu", bias=bias, dtype=torch.float64))
        assert torch.equal(deep(x), net(x))
        assert slope_and_curvature(deep, x, y)[0].norm() < 1e-12


def test_null_block_on_a_stream_without_biases_is_critical_only_when_silent():
    """No bias forces sum e = 0, so dR/dc = sum e != 0; what remains critical is sigma(b) = 0
    without c."""
    x, net = data(80, 2), residual_model(bias=False)
    y = critical_y(net, x, 1.0)
    assert (
        slope_and_curvature(
            insert_block(net, 3, null_block(3, 5, "elu", dtype=torch.float64)), x, y
        )[0].norm()
        > VISIBLE
    )
    silent = ResidualBlock(3, 5, "elu", torch.float64, bias=False)
    for p in silent.parameters():
        p.data.zero_()
    assert slope_and_curvature(insert_block(net, 3, silent), x, y)[0].norm() < 1e-12


@pytest.mark.parametrize("index", [3, 4, 5])
def test_theorem_linearised_block_is_critical_anywhere_on_the_stream(index):
    """V diag(slope) U = 0 with V, U of full rank: critical, and n+ and n- stay, between two blocks
    (4) as at the ends."""
    x, net = data(80, 2), residual_model()
    y = critical_y(net, x, 1.0)
    deep = insert_block(
        net, index, linearised_block(3, 5, "elu", stream_at(net, index, x), generator=seeded(2))
    )
    assert norm_gap(deep(x), net(x)) < 1e-12
    assert deep[index].outer.weight.abs().max() > 0.1
    (slope, h), (_, shallow) = slope_and_curvature(deep, x, y), slope_and_curvature(net, x, y)
    assert slope.norm() < 1e-10
    before, after = (inertia(m).counts for m in (shallow, h))
    assert after == (before[0], before[1] + h.shape[0] - shallow.shape[0], before[2])


def test_a_lift_that_would_change_the_outputs_is_an_error(monkeypatch):
    x, net = data(14, 2), plain()
    deep = insert_layer(net, x, 2, 4, "relu", normalise=True, generator=0)
    kept = modules._norm_that_keeps

    def norm(z, start):
        made = kept(z, start)
        made.bias.mul_(1 + 1e-5)  # more than rounding
        return made

    monkeypatch.setattr(modules, "_norm_that_keeps", norm)
    with pytest.raises(ValueError, match="outputs of the layer would change"):
        insert_layer(net, x, 2, 4, "relu", normalise=True, generator=0)
    pieces = modules._pieces_that_hold
    monkeypatch.setattr(modules, "_pieces_that_hold", lambda *a: [t + 1e-5 for t in pieces(*a)])
    with pytest.raises(ValueError, match="outputs of the layer would change"):
        merge_layer(deep, x, 2)


def no_bias():
    return nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 1)).double()


def inserted(net, x, layer, width=4, sigma="relu", **options):
    return insert_layer(net, x, layer, width, sigma, generator=0, **options)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (
            TypeError,
            "net is Linear: expected a plain nn.Sequential",
            lambda n, x: inserted(n[0], x, 1),
        ),
        (ValueError, r"layer 3 outside 1\.\.2", lambda n, x: inserted(n, x, 3)),
        (TypeError, "layer is 1.0: expected an int", lambda n, x: inserted(n, x, 1.0)),
        (ValueError, "layer 1 has no bias", lambda n, x: inserted(no_bias(), x, 1)),
        (ValueError, "width 1 is too small", lambda n, x: inserted(n, x, 1, 1)),
        (ValueError, "tanh has no affine piece", lambda n, x: inserted(n, x, 1, 4, "tanh")),
        (ValueError, r"x has shape \(0, 2\)", lambda n, x: inserted(n, x[:0], 1)),
        (
            ValueError,
            "batch normalisation of 1 sample",
            lambda n, x: inserted(n, x[:1], 1, normalise=True),
        ),
        (
            ValueError,
            "Dropout is active",
            lambda n, x: inserted(nn.Sequential(nn.Dropout(0.5), *n), x, 1),
        ),
        (ValueError, "neurons .* are in no single affine piece", lambda n, x: merge_layer(n, x, 1)),
        (
            TypeError,
            "expected Linear, .BatchNorm1d,. activation, Linear",
            lambda n, x: merge_layer(n, x, 2),
        ),
        (
            TypeError,
            "layer 1 is Conv2d: expected Linear",
            lambda n, x: merge_layer(nn.Sequential(nn.Conv2d(1, 1, 1)), x, 1),
        ),
        (
            ValueError,
            r"place 4 outside 0\.\.3",
            lambda n, x: insert_block(n, 4, null_block(2, 2, "relu")),
        ),
        (ValueError, r"place -1 outside", lambda n, x: stream_at(n, -1, x)),
    ],
)
def test_impossible_requests_are_refused(error, message, call):
    with pytest.raises(error, match=message):
        call(plain(), data(14, 2))
