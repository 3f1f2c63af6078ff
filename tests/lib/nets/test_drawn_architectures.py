"""Nets drawn at random, of all modules, modes, dtypes and layouts: every operator keeps the
function or refuses in words, and leaves what it was given as it was."""

import copy
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations

import lib
from lib.depth import insert_layer
from lib.graft import graft
from lib.merge import fold_batchnorm, merge_channels
from lib.mixture import MixtureOptions, mix, weight_path
from lib.nets import Chain
from lib.nets.kinds import RANDOM
from lib.symmetry import permute, rebasin
from lib.width import merge_channel, split_channel

LIB = str(Path(lib.__path__[0]))
SAMPLES = 6


class Residual(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


class Scaled(nn.Linear):
    def forward(self, x):
        return super().forward(x) / 2


def anywhere(width):
    return {
        "relu": nn.ReLU,
        "in place": lambda: nn.ReLU(inplace=True),
        "leaky": lambda: nn.LeakyReLU(0.3),
        "tanh": nn.Tanh,
        "gelu": nn.GELU,
        "nothing": nn.Identity,
        "one slope": nn.PReLU,
        "slopes": lambda: nn.PReLU(width),
        "dropout": lambda: nn.Dropout(0.5),
        "alpha": lambda: nn.AlphaDropout(0.5),
        "softmax": lambda: nn.Softmax(1),
        "residual": lambda: Residual(nn.Tanh()),
        "nested": lambda: nn.Sequential(nn.Tanh(), nn.Sequential(nn.ReLU())),
    }


def dense_only(width):
    return {"norm": lambda: nn.BatchNorm1d(width), "layer norm": lambda: nn.LayerNorm(width)}


def maps_only(width):
    return {
        "norm": lambda: nn.BatchNorm2d(width),
        "bare norm": lambda: nn.BatchNorm2d(width, affine=False),
        "groups": lambda: nn.GroupNorm(1, width),
        "max": lambda: nn.MaxPool2d(2, 1),
        "mean": lambda: nn.AvgPool2d(2, 1, divisor_override=3),
        "padded": lambda: nn.AvgPool2d(3, 1, 1),
    }


@dataclass(frozen=True, eq=False)
class Drawn:
    net: nn.Module
    x: torch.Tensor

    def __repr__(self):  # without the numbers
        return f"{self.net} in modes {[m.training for m in self.net.modules()]}"


@st.composite
def architectures(draw):
    """(net, x): whatever a reader may bring, as long as it runs."""
    conv = draw(st.booleans())
    draws = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    x = torch.randn(SAMPLES, *((2, 5, 5) if conv else (3,)), generator=draws)
    modules: list[nn.Module] = []
    f, flat = x, not conv
    for _ in range(draw(st.integers(1, 3))):
        if not flat and draw(st.integers(0, 2)) == 0:
            modules.append(nn.Flatten())
            f, flat = f.flatten(1), True
        modules.append(joint(draw, f, flat))
        f = modules[-1](f)
        kinds = anywhere(f.shape[1]) | (dense_only if flat else maps_only)(f.shape[1])
        for name in draw(st.lists(st.sampled_from(sorted(kinds)), max_size=2)):
            modules.append(kinds[name]())
            if not flat and min(f.shape[2:]) < 3 and name in ("max", "mean", "padded"):
                modules.pop()
                continue
            f = modules[-1](f).detach()
    modules += [] if flat else [nn.Flatten()]
    modules.append(nn.Linear(f[0].numel(), 2))
    net = nn.Sequential(*modules)
    for p in net.parameters():
        nn.init.uniform_(p, -1, 1, generator=draws)
    net(x * 2 + 1)  # statistics of some other batch
    spoil(draw, net)
    dtype = draw(st.sampled_from([torch.float64] * 4 + [torch.float32]))
    made = (as_drawn_chain(draw, net) if draw(st.booleans()) else net).to(dtype)
    return Drawn(made, x.to(dtype))


def joint(draw, f, flat):
    width, bias = draw(st.integers(1, 4)), draw(st.integers(0, 3)) > 0
    if flat:
        return (Scaled if draw(st.integers(0, 15)) == 0 else nn.Linear)(f.shape[1], width, bias)
    kernel, groups = draw(st.integers(1, min(3, *f.shape[2:]))), 1
    if draw(st.integers(0, 7)) == 0:
        width = groups = f.shape[1]
    padding = draw(st.sampled_from([0, kernel // 2]))
    mode = draw(st.sampled_from(["zeros", "zeros", "circular"]))
    return nn.Conv2d(
        f.shape[1], width, kernel, padding=padding, groups=groups, bias=bias, padding_mode=mode
    )


def spoil(draw, net):
    """Modes, and now and then something that changes a net from outside."""
    net.train(draw(st.integers(0, 3)) == 0)
    modules = [m for m in net.modules() if m is not net]
    if draw(st.integers(0, 3)) == 0:
        draw(st.sampled_from(modules)).train(not net.training)
    joints = [m for m in modules if isinstance(m, (nn.Linear, nn.Conv2d))]
    odd, one = draw(st.integers(0, 40)), joints[0]
    if odd == 0:
        one.register_forward_hook(lambda m, i, o: o + 1)
    elif odd == 1:
        parametrizations.weight_norm(one)
    elif odd == 2:
        one.forward = lambda t, own=one.forward: own(t) * 2
    elif odd == 3:
        one.requires_grad_(False)


def as_drawn_chain(draw, net):
    """The same modules as a Chain, where something stands between its joints."""
    places = [i for i, m in enumerate(net) if isinstance(m, (nn.Linear, nn.Conv2d))]
    groups = [nn.Sequential(*net[a + 1 : b]) for a, b in zip(places, places[1:], strict=False)]
    chain = Chain([net[i] for i in places], groups, before=nn.Sequential(*net[: places[0]]))
    chain.training = net.training
    return chain


# operators: (net, x, hidden layers, draw) -> what was kept, as two tensors


def outputs(net, x):
    with torch.random.fork_rng([]):  # a net may be random; the operators are not
        return copy.deepcopy(net)(x.clone()).detach()


def both(before, after, x):
    return outputs(before, x), outputs(after, x)


def some(draw, net):
    chain = net if isinstance(net, Chain) else Chain.from_sequential(net)
    layer = draw(st.integers(1, max(1, chain.depth - 1)))
    return layer, draw(st.integers(0, chain.widths[layer] - 1)), chain


def permuted(net, x, draw):
    layer, _, chain = some(draw, net)
    order = draw(st.permutations(range(chain.widths[layer])))
    return both(net, permute(net, {layer: order}), x)


def matched(net, x, draw):
    layer, _, chain = some(draw, net)
    order = draw(st.permutations(range(chain.widths[layer])))
    return both(net, rebasin(net, permute(net, {layer: order})), x)


def split(net, x, draw):
    layer, channel, _ = some(draw, net)
    return both(net, split_channel(net, layer, channel, 0.3), x)


def split_and_merged(net, x, draw):
    layer, channel, _ = some(draw, net)
    return both(net, merge_channel(split_channel(net, layer, channel, 0.3), layer, channel), x)


def merged(net, x, draw):
    layer, channel, _ = some(draw, net)
    return both(net, merge_channels(split_channel(net, layer, channel, 0.3), x, cosine=1.0).net, x)


def folded(net, x, draw):
    return both(net, fold_batchnorm(net), x)


def converted(net, x, draw):
    if isinstance(net, Chain):
        return both(net, net.to_sequential(), x)
    return both(net, Chain.from_sequential(net), x)


def deeper(net, x, draw):
    layer = draw(st.integers(1, some(draw, net)[2].depth))
    return both(net, insert_layer(net, x, layer, 40, "relu", generator=0), x)


def grafted(net, x, draw):
    layer, _, _ = some(draw, net)
    found = graft(net, net, x, layer, products=torch.float64)
    if found.solution.ridge_needed:  # the features do not say which joint it was
        assert found.relative < 1e-3
        return None
    return both(copy.deepcopy(net).eval(), found.net, x)


def mixed(net, x, draw):
    options = MixtureOptions(width=1.0, scheme="balanced", inputs="own")
    found = mix(net, net, x, 1.0, options, generator=0)
    if any(found.ridges):
        return None
    return both(copy.deepcopy(net).eval(), found.net, x)


def path(net, x, draw):
    curve = weight_path(net, net, x, torch.arange(SAMPLES) % 2, gammas=3)
    return curve.losses[:1].expand(3, -1), curve.losses


OPERATORS = (
    permuted, matched, split, split_and_merged, merged, folded, converted, deeper, grafted, mixed,
    path,
)  # fmt: skip
SEEN: Counter[tuple[str, str]] = Counter()


def state(net, x):
    tensors = [*net.state_dict().values(), x]
    return [t.clone() for t in tensors], [m.training for m in net.modules()], torch.get_rng_state()


@settings(
    max_examples=1000, deadline=None, derandomize=True, database=None, phases=[Phase.generate]
)
@given(architectures(), st.sampled_from(OPERATORS), st.data())
def one_drawn_net(drawn, operator, data):
    net, x = drawn.net, drawn.x
    before = state(net, x)
    try:
        kept = operator(net, x, data.draw)
    except (TypeError, ValueError) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        refused = last.filename.startswith(LIB) and str(last.line).startswith("raise")
        said, kept = f"{error!r} for {net}", None
    else:
        refused, said = None, ""
    assert refused is not False, said
    SEEN[operator.__name__, "refused" if refused else "kept"] += 1
    if kept is not None and not random(net):
        size = max(1.0, float(kept[0].abs().max()))
        allowed = 1e-6 if kept[0].dtype == torch.float64 else 5e-3  # of solved joints
        apart = float((kept[1] - kept[0]).abs().max())
        assert apart <= allowed * size, f"{operator.__name__}: {apart} of {size}"
    after = state(net, x)
    assert all(torch.equal(a, b) for a, b in zip(before[0], after[0], strict=True))
    assert before[1] == after[1]
    assert torch.equal(before[2], after[2])
    assert all(p.grad is None for p in net.parameters())


def random(net):
    return any(isinstance(m, RANDOM) and m.training for m in net.modules())


def test_preserved_or_refused():
    """And each operator kept the function of several nets: not everything is refused."""
    SEEN.clear()
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        one_drawn_net()
    for operator in OPERATORS:
        assert SEEN[operator.__name__, "kept"] >= 10, SEEN
