"""Neural network grafting: the first layers of one net before the last layers of another, joined by
least squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from lib.graft.cut import (
    Data,
    batches,
    checked_cut,
    joint_shape,
    pool,
    pools_between,
    sharing_parameters,
)
from lib.joint.geometry import build
from lib.joint.normal import NormalEquations
from lib.joint.ridge import Solution, solve
from lib.nets import Chain


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
    """

    net: Chain
    layer: int
    onto: int
    loss: float
    relative: float
    solution: Solution | None = None


def graft(
    net1: Chain,
    net2: Chain,
    layer: int,
    data: Data,
    *,
    onto: int | None = None,
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
        net1, net2: any two chains; the widths may differ.
        layer: l in 1..L1 - 1;  onto: the layer of net 2 that is replaced, l + 1 by default. When it
            is a later one, the features are max-pooled 2x2 to the size that it expects.
        data: images (n, channels, rows, columns), or batches of them.
        ridge, products: see `lib.joint.ridge` and `lib.joint.normal`.
        batch: images at a time, for a tensor.
    Raises:
        ValueError: a layer outside its range, features whose size does not fit, or no data.
        TypeError: a joint that is not linear in its weights.

    Source: (Gu et al. 2020, Sec. 4, Eq. 2); the exact solution is ours.

    >>> from lib.nets import VGG

    >>> from lib.nets import initialise
    >>> nets = [initialise(VGG(width=1 / 16, side=8, pools=3, hidden=8), generator=s) for s in (0, 1)]
    >>> x = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> result = graft(*nets, 2, x)
    >>> result.net(x).shape, 0 < result.relative < 1
    (torch.Size([64, 10]), True)
    """
    return graft_layers(
        net1, net2, data, [(layer, onto)], ridge=ridge, products=products, batch=batch
    )[0]


def graft_layers(
    net1: Chain,
    net2: Chain,
    data: Data,
    layers: Sequence[int | tuple[int, int | None]] | None = None,
    *,
    ridge: float = 0.0,
    products: torch.dtype = torch.float32,
    batch: int = 256,
) -> tuple[Graft, ...]:
    """`graft` at several layers, from one forward pass of both nets.

    Args:
        layers: numbers l, or pairs (l, onto); every l in 1..L - 1 by default.
    Returns:
        One graft a layer, in the order asked for.

    >>> from lib.nets import VGG

    >>> from lib.nets import initialise
    >>> nets = [initialise(VGG(width=1 / 16, side=8, pools=3, hidden=8), generator=s) for s in (0, 1)]
    >>> x = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> [g.layer for g in graft_layers(*nets, x, [1, 3])]
    [1, 3]
    """
    wanted = range(1, min(net1.depth, net2.depth)) if layers is None else layers
    cuts = [
        checked_cut(net1, net2, *(cut if isinstance(cut, tuple) else (cut, None))) for cut in wanted
    ]
    if not cuts:
        raise ValueError("got no layers to graft at")
    first, second = sharing_parameters(net1), sharing_parameters(net2)
    equations: dict[tuple[int, int], NormalEquations] = {}
    pools: dict[tuple[int, int], int] = {}
    with torch.no_grad():
        for x in batches(data, batch):
            features = first.features(x, max(layer for layer, _ in cuts))
            targets = second.preactivations(x, max(onto for _, onto in cuts))
            expected = [x, *(second.feature(m, g) for m, g in enumerate(targets[:-1], start=1))]
            for layer, onto in dict.fromkeys(cuts):
                f, key = features[layer], (layer, onto)
                if key not in equations:
                    pools[key] = pools_between(f, expected[onto - 1])
                    shape = joint_shape(net2.joint(onto), f)
                    equations[key] = NormalEquations(shape, products, x.device)
                equations[key].add(pool(f, pools[key]), targets[onto - 1])
    if not equations:
        raise ValueError("got no images to graft on")
    return tuple(_finish(net1, net2, cut, equations[cut], pools[cut], ridge) for cut in cuts)


def _finish(
    net1, net2, cut: tuple[int, int], equations: NormalEquations, pools: int, ridge: float
) -> Graft:
    like = net2.joint(cut[1])
    solution = solve(equations, bias=like.bias is not None, ridge=ridge)
    weight = solution.weight.to(like.weight.dtype)
    joint = build(
        equations.shape, weight, None if solution.bias is None else solution.bias.to(weight.dtype)
    )
    net = assemble(net1, net2, cut[0], cut[1], joint, pools)
    relative = solution.loss / solution.variance if solution.variance > 0 else 0.0
    return Graft(net, *cut, solution.loss, relative, solution)


def assemble(
    net1: Chain, net2: Chain, layer: int, onto: int, joint: nn.Module, pools: int = 0
) -> Chain:
    """(theta1^(1..layer), joint, theta2^(onto+1..)), in eval mode, sharing the parameters of both
    nets.

    Args:
        pools: 2x2 max poolings between the features of net 1 and the joint.
    """
    first, second = sharing_parameters(net1), sharing_parameters(net2)
    between = first.activations[layer - 1]
    if pools:
        between = nn.Sequential(between, *(nn.MaxPool2d(2) for _ in range(pools)))
    joints = [*first.joints[:layer], joint, *second.joints[onto:]]
    activations = [*first.activations[: layer - 1], between, *second.activations[onto - 1 :]]
    return Chain(joints, activations).eval()


def matching_loss(grafted: Graft, net2: Chain, data: Data, *, batch: int = 256) -> float:
    """Mean over images, positions and channels of (g~^(m) - g2^(m))^2 at the joint, in one more
    pass over any data.

    Args:
        grafted: a graft onto net2;  data: images or batches of them.

    >>> from lib.nets import VGG

    >>> from lib.nets import initialise
    >>> net = initialise(VGG(width=1 / 16, side=8, pools=3, hidden=8), generator=0)
    >>> x = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> matching_loss(graft(net, net, 1, x), net, x) < 1e-6
    True
    """
    second, total, count = sharing_parameters(net2), 0.0, 0
    with torch.no_grad():
        for x in batches(data, batch):
            here = grafted.net.preactivations(x, grafted.layer + 1)[-1]
            there = second.preactivations(x, grafted.onto)[-1]
            total += (here - there).double().square().sum().item()
            count += there.numel()
    return total / count
