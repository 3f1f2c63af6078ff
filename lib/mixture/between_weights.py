"""Nets on the straight line between two nets in weight space."""

from __future__ import annotations

import copy
import operator

import torch
from torch import Tensor, nn

from lib.joint.geometry import Geometry
from lib.mixture.barriers import Numbers
from lib.mixture.curve import LossCurve, loss_curve
from lib.nets import Chain
from lib.nets.chain import as_chain
from lib.nets.kinds import check_by_sample
from lib.nets.samples import Data, check_alone, whole


def weight_path(
    net1: Chain | nn.Sequential,
    net2: Chain | nn.Sequential,
    x: Data,
    y: Tensor | None = None,
    *,
    gammas: int | Numbers = 101,
    kind: str = "l12",
    weight: float = 1.0,
    batch: int = 256,
) -> LossCurve:
    """The nets gamma * theta_1 + (1 - gamma) * theta_2, all of them on all images.

    Args:
        net1, net2: of one architecture.
        x: images (n, ...) with classes y, int64 (n,); or batches (x, y), such as a DataLoader.
        gammas: how many evenly spaced in [0, 1], or the values themselves (P,), any real numbers.
        kind, weight: of the regulariser, see `lib.train.sgd.penalty`.
        batch: images at a time.
    Raises:
        ValueError: nets of different architecture, statistics that only one of them has, images
            and classes that do not match, or no gammas.
    Source: (Gu et al. 2020, Fig. 3b left).

    >>> from lib.nets import VGG, initialise
    >>> small = {"width": 1 / 16, "side": 8, "pools": 3, "hidden": 8}
    >>> nets = [initialise(VGG(**small), generator=s) for s in (0, 1)]
    >>> x = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> weight_path(*nets, x, torch.arange(6), gammas=3).losses.shape
    torch.Size([3, 6])
    """
    x, y = whole(x, y, labelled=True)
    net1, net2 = as_chain(net1), as_chain(net2)
    _check_ends(net1, net2, x[:batch])
    at = _points(gammas)
    nets = (net_between(net1, net2, gamma) for gamma in at.tolist())
    return loss_curve(nets, x, y, at, kind=kind, weight=weight, batch=batch)


@torch.no_grad()
def net_between(net1: Chain, net2: Chain, gamma: float) -> Chain:
    """A copy of net1 with the parameters gamma * theta_1 + (1 - gamma) * theta_2, in eval mode.

    Raises:
        ValueError: nets of different architecture, or statistics that only one of them has.

    >>> one, two = (Chain([nn.Linear(1, 1)], []) for _ in range(2))
    >>> torch.equal(net_between(one, two, 0.0).joint(1).weight, two.joint(1).weight)
    True
    """
    check_one_architecture(net1, net2)
    net = copy.deepcopy(net1).eval()
    for p, a, b in zip(net.parameters(), net1.parameters(), net2.parameters(), strict=True):
        p.copy_(torch.lerp(b.double(), a.double(), gamma))
    return net


def check_one_architecture(net1: Chain, net2: Chain) -> None:
    """Raises ValueError unless the nets differ in nothing but parameters."""
    if [tuple(p.shape) for p in net1.parameters()] != [tuple(p.shape) for p in net2.parameters()]:
        raise ValueError(
            "the nets differ in shape: expected weights that can be interpolated, of one"
            " architecture and width"
        )
    kinds = [([Geometry.of(j) for j in net.joints], outline(net)) for net in (net1, net2)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            "the nets differ in kernels or activations: expected nets that differ in weights alone"
        )
    for (name, a), (_, b) in zip(net1.named_buffers(), net2.named_buffers(), strict=True):
        if a.is_floating_point() and not torch.equal(a, b):
            raise ValueError(
                f"the nets differ in {name}, which is not a parameter: fold BatchNorm into the"
                " joints first"
            )


def outline(net: Chain) -> str:
    """What stands before, between and behind the joints."""
    return repr([net.before, net.activations, net.after])


@torch.no_grad()
def _check_ends(net1: Chain, net2: Chain, x: Tensor) -> None:
    """Measure that the line starts and ends at the nets themselves."""
    for gamma, net in ((0.0, net2), (1.0, net1)):
        whole_net = copy.deepcopy(net).eval()
        check_by_sample(whole_net)
        expected = whole_net(x)
        check_alone(whole_net, x, expected)
        apart = (net_between(net1, net2, gamma)(x) - expected).abs().max()
        if not apart <= 64 * torch.finfo(expected.dtype).eps * expected.abs().max():
            raise ValueError(
                f"the end gamma = {gamma:g} of the line is {float(apart):.2g} from the net that it"
                " should be: expected nets whose parameters say all"
            )


def _points(gammas: int | Numbers) -> Tensor:
    try:
        count = operator.index(gammas)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        at = torch.as_tensor(gammas, dtype=torch.float64)
    else:
        at = torch.linspace(0, 1, max(0, count), dtype=torch.float64)
    if at.dim() != 1 or len(at) == 0 or not bool(torch.isfinite(at).all()):
        raise ValueError(
            f"gammas of shape {tuple(at.shape)}: expected finite (P,) with P >= 1, or a number of"
            " points >= 1"
        )
    return at
