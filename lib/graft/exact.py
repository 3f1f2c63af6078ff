"""Neural network grafting: the first layers of one net before the last layers of another, joined by
least squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lib.graft.joining import (
    assemble,
    checked_layers,
    joint_shape,
    pool,
    pools_between,
    sharing_parameters,
)
from lib.graft.traced import graft_traced
from lib.joint.least_squares import Solution, solve
from lib.joint.normal import NormalEquations
from lib.nets import Chain
from lib.nets.chain import as_chain
from lib.nets.samples import Data, check_alone, in_batches
from lib.traced.cutting import halves

Layers = Sequence[int | tuple[int, int | None]]


@dataclass(frozen=True, eq=False)
class Graft:
    """A grafted net theta~ = (theta1^(1..l), joint, theta2^(m+1..)), m = l + 1 unless another layer
    was asked for.

    Args:
        net: in eval mode; it shares the parameters of both nets, only the joint is its own.
        layer: l, the last layer taken from net 1;  onto: m, the layer of net 2 that the joint
            replaces.
        loss: matching loss, Eq. (2) as a mean over images, positions and channels of (g~ - g2)^2.
        relative: loss over the variance of g2 (mean over channels): 0 is a perfect match, 1 no
            better than the mean.
        solution: condition and ridge of the least squares; None for a joint that was trained.
        cut: the submodules of nets that are traced between whose outputs the joint stands; it is
            then layer 1 of `net`.
    """

    net: Chain
    layer: int
    onto: int
    loss: float
    relative: float
    solution: Solution | None = None
    cut: tuple[str, str] | None = None


@dataclass(frozen=True, eq=False)
class _Problem:
    """The least squares of one joint, the poolings before it, and the first image with what the
    joint reads of it."""

    equations: NormalEquations
    pools: int
    first: tuple[Tensor, Tensor]


def graft(
    net1: nn.Module,
    net2: nn.Module,
    x: Data,
    layer: int | str,
    *,
    onto: int | str | None = None,
    ridge: float = 0.0,
    products: torch.dtype = torch.float32,
    batch: int = 256,
) -> Graft:
    """Graft net 1 onto net 2 at a layer, the joint solved exactly.

    The pre-activation g~^(l+1) is linear in the joint's weights, so that the matching problem of
    the paper,

    min over theta~^(l+1) of (1/N) sum_i sum_k || g~_k^(l+1)(x_i) - g2_k^(l+1)(x_i) ||^2,

    is a linear least-squares problem. Its normal equations are summed in one pass over the data.

    Args:
        net1, net2: any two chains, or nn.Sequential nets, which are copied; the widths may differ.
            Or modules that torch.fx traces, such as residual nets: see below.
        x: images (n, channels, rows, columns) or (n, width), batches of them, or a DataLoader.
        layer: l in 1..L1 - 1;  onto: the layer of net 2 that is replaced, l + 1 by default. When it
            is a later one, the features are max-pooled 2x2 to the size that it expects. For nets
            that are traced both are names of submodules, the same by default, after which one
            tensor alone passes; the joint is a 1x1 convolution, or dense, between their outputs.
        ridge, products: see `lib.joint`;  batch: images at a time, for a tensor.
    Raises:
        ValueError: a layer outside its range, features whose size does not fit, no data, or
            numbers that are not finite, or a net that does not treat every image by itself.
        TypeError: a joint that is not linear in its weights; a net with hooks, parametrizations or
            a forward of its own.

    Source: (Gu et al. 2020, Sec. 4, Eq. 2); the exact solution is ours.

    >>> from lib.nets import VGG, initialise
    >>> small = {"width": 1 / 16, "side": 8, "pools": 3, "hidden": 8}
    >>> nets = [initialise(VGG(**small), generator=s) for s in (0, 1)]
    >>> x = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> result = graft(*nets, x, 2)
    >>> result.net(x).shape, 0 < result.relative < 1
    (torch.Size([64, 10]), True)
    """
    if isinstance(layer, str):
        return _traced(net1, net2, x, (layer, onto), (ridge, products, batch))
    if isinstance(onto, str):
        raise TypeError(f"onto is {onto!r}: expected the number of a layer, as layer is")
    at = [(layer, onto)]
    return graft_layers(net1, net2, x, at, ridge=ridge, products=products, batch=batch)[0]


def _traced(
    net1: nn.Module,
    net2: nn.Module,
    x: Data,
    at: tuple[int | str, int | str | None],
    how: tuple[float, torch.dtype, int],
) -> Graft:
    layer, onto = at
    ridge, products, batch = how
    cut = layer, layer if onto is None else onto
    for name in cut:
        if not isinstance(name, str):
            raise TypeError(
                f"the place of the joint is {name!r}: expected, for nets that are traced, the name"
                " of a submodule, such as 'layer2'"
            )
    names = str(cut[0]), str(cut[1])
    net, found = graft_traced(net1, net2, x, names, ridge=ridge, products=products, batch=batch)
    return Graft(net, 0, 1, found.loss, found.relative, found, names)


def graft_layers(
    net1: nn.Module,
    net2: nn.Module,
    x: Data,
    layers: Layers | None = None,
    *,
    ridge: float = 0.0,
    products: torch.dtype = torch.float32,
    batch: int = 256,
) -> tuple[Graft, ...]:
    """`graft` at several layers, from one forward pass of both nets.

    Args:
        layers: numbers l, or pairs (l, onto); every l in 1..L - 1 by default.
    Returns:
        One graft for each layer, in the order asked for.

    >>> from lib.nets import VGG, initialise
    >>> small = {"width": 1 / 16, "side": 8, "pools": 3, "hidden": 8}
    >>> nets = [initialise(VGG(**small), generator=s) for s in (0, 1)]
    >>> x = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> [g.layer for g in graft_layers(*nets, x, [1, 3])]
    [1, 3]
    """
    net1, net2 = as_chain(net1), as_chain(net2)
    joins = joins_of(net1, net2, layers)
    problems = _problems(net1, net2, x, joins, products, batch)
    grafts = {join: _solved(net1, net2, join, problems[join], ridge) for join in problems}
    return tuple(grafts[join] for join in joins)


def joins_of(net1: Chain, net2: Chain, layers: Layers | None) -> list[tuple[int, int]]:
    """The pairs (layer, onto) that `layers` asks for, checked."""
    wanted = range(1, min(net1.depth, net2.depth)) if layers is None else layers
    pairs = [join if isinstance(join, tuple) else (join, None) for join in wanted]
    if not pairs:
        raise ValueError("got no layers to graft at")
    return [checked_layers(net1, net2, *pair) for pair in pairs]


@torch.no_grad()
def _problems(
    net1: Chain,
    net2: Chain,
    x: Data,
    joins: list[tuple[int, int]],
    products: torch.dtype,
    batch: int,
) -> dict[tuple[int, int], _Problem]:
    """The problem of the joint for every (layer, onto)."""
    first, second = sharing_parameters(net1), sharing_parameters(net2)
    found: dict[tuple[int, int], _Problem] = {}
    deepest, last = (max(places) for places in zip(*joins, strict=True))
    for part in in_batches(x, batch):
        features = first.features(part, deepest)
        targets = second.preactivations(part, last)
        if not found:
            check_alone(lambda x: first.features(x, deepest)[-1], part, features[-1])
            check_alone(lambda x: second.preactivations(x, last)[-1], part, targets[-1])
        expected = [part, *(second.feature(m, g) for m, g in enumerate(targets[:-1], start=1))]
        for layer, onto in dict.fromkeys(joins):
            f = features[layer]
            if (layer, onto) not in found:
                pools = pools_between(f, expected[onto - 1])
                shape = joint_shape(net2.joint(onto), f)
                equations = NormalEquations(shape, products, part.device)
                found[layer, onto] = _Problem(equations, pools, (part[:1], pool(f[:1], pools)))
            problem = found[layer, onto]
            problem.equations.add(pool(f, problem.pools), targets[onto - 1])
    if not found:
        raise ValueError("got no images to graft on")
    return found


@torch.no_grad()
def _solved(
    net1: Chain,
    net2: Chain,
    join: tuple[int, int],
    problem: _Problem,
    ridge: float,
) -> Graft:
    like = net2.joint(join[1])
    solution = solve(problem.equations, bias=like.bias is not None, ridge=ridge)
    dtype = like.weight.dtype
    bias = None if solution.bias is None else solution.bias.to(dtype)
    joint = problem.equations.shape.build(solution.weight.to(dtype), bias)
    net = assemble(net1, net2, *join, joint, problem.pools)
    image, features = problem.first
    grown = join[0] + 1
    check_alone(lambda x: net.preactivations(x, grown)[-1], image, joint(features))  # as fitted
    return Graft(net, *join, solution.loss, solution.relative, solution)


@torch.no_grad()
def matching_loss(grafted: Graft, net2: nn.Module, x: Data, *, batch: int = 256) -> float:
    """Mean over images, positions and channels of (g~^(m) - g2^(m))^2 at the joint, in one more
    pass over any data.

    Args:
        grafted: a graft onto net2;  x: images, or batches of them.

    >>> from lib.nets import VGG, initialise
    >>> net = initialise(VGG(width=1 / 16, side=8, pools=3, hidden=8), generator=0)
    >>> x = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> matching_loss(graft(net, net, x, 1), net, x) < 1e-6
    True
    """
    total, count = 0.0, 0
    if grafted.cut:
        second = Chain([halves(net2, grafted.cut[1])[0]], [])
    else:
        second = sharing_parameters(net2)
    for part in in_batches(x, batch):
        here = grafted.net.preactivations(part, grafted.layer + 1)[-1]
        there = second.preactivations(part.clone(), grafted.onto)[-1]
        total += (here - there).double().square().sum().item()
        count += there.numel()
    if not count:
        raise ValueError("got no images to measure the graft on")
    return total / count
