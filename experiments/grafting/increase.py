"""What grafting costs: how much more often the grafted nets err than the net they were grafted
onto."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lib.graft import Graft, graft_fresh, graft_layers
from lib.graft.exact import Layers, joins_of
from lib.graft.joining import sharing_parameters
from lib.joint import Geometry
from lib.nets import Chain
from lib.nets.drawing import source_of
from lib.nets.samples import check_samples


@dataclass(frozen=True)
class Increase:
    """Errors of grafts on test images, one entry for each graft.

    Args:
        layers, onto: where net 1 was cut, and which layer of net 2 the joint replaces.
        base: share of test images that net 2 gets wrong;  first: that net 1 gets wrong, NaN if it
            does not classify.
        error: error of the graft less `base`: 0.05 is 5 percentage points.
        relative: matching loss over the variance of the target, on the images of the fit.
        condition, ridge: of the least squares; NaN and 0 for a fresh joint.
    """

    layers: tuple[int, ...]
    onto: tuple[int, ...]
    base: float
    first: float
    error: tuple[float, ...]
    relative: tuple[float, ...]
    condition: tuple[float, ...]
    ridge: tuple[float, ...]


def error_increase(
    net1: Chain,
    net2: Chain,
    fit: Tensor,
    x: Tensor,
    y: Tensor,
    layers: Layers | None = None,
    *,
    joint: str = "exact",
    seed: int = 0,
) -> Increase:
    """Graft net 1 onto net 2 at several layers and compare the test errors with net 2's.

    Args:
        net1, net2: chains that classify.
        fit: images on which the joints are matched;  x, y: images and labels on which errors are
            counted.
        layers: as `graft_layers`: all by default.
        joint: "exact" for least squares, "fresh" for a freshly drawn joint that nothing matched,
            the baseline.
        seed: of fresh joints.
    Raises:
        ValueError: an unknown joint, or not one label an image.

    Source: (Gu et al. 2020, Fig. 2a and 3a).

    >>> from lib.nets import VGG, initialise
    >>> small = {"width": 1 / 16, "side": 8, "pools": 3, "hidden": 8}
    >>> nets = [initialise(VGG(**small), generator=s) for s in (0, 1)]
    >>> x = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> error_increase(*nets, x, x, torch.arange(32) % 10, [1, 12]).layers
    (1, 12)
    """
    if joint not in ("exact", "fresh"):
        raise ValueError(f"joint is {joint!r}: expected 'exact' or 'fresh'")
    check_samples(x, y)
    if joint == "exact":
        grafts = graft_layers(net1, net2, fit, layers)
    else:
        grafts = tuple(
            graft_fresh(net1, net2, fit, layer, onto=onto, generator=seed)
            for layer, onto in joins_of(net1, net2, layers)
        )
    errors = graft_errors(grafts, net1, x, y)
    base, first = (_error(sharing_parameters(net), x, y) for net in (net2, net1))
    solutions = [g.solution for g in grafts]
    return Increase(
        tuple(g.layer for g in grafts),
        tuple(g.onto for g in grafts),
        base,
        first,
        tuple(e - base for e in errors),
        tuple(g.relative for g in grafts),
        tuple(float("nan") if s is None else s.condition for s in solutions),
        tuple(0.0 if s is None else s.ridge for s in solutions),
    )


def increases(
    pairs: Sequence[tuple[Chain, Chain]],
    fit: Tensor,
    x: Tensor,
    y: Tensor,
    layers: Layers | None = None,
    joint: str = "exact",
) -> tuple[Increase, ...]:
    """`error_increase` of several pairs (net 1, net 2), one after the other.

    >>> from lib.nets import VGG, initialise
    >>> net = initialise(VGG(width=1 / 16, side=8, pools=3, hidden=8), generator=0)
    >>> x = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> [i.layers for i in increases([(net, net)] * 2, x, x, torch.arange(8), [1])]
    [(1,), (1,)]
    """
    return tuple(error_increase(a, b, fit, x, y, layers, joint=joint) for a, b in pairs)


def graft_errors(
    grafts: Sequence[Graft], net1: Chain, images: Tensor, labels: Tensor, *, batch: int = 256
) -> tuple[float, ...]:
    """The share of images that each graft gets wrong; what they take from net 1 is computed once
    for all.

    Args:
        grafts: of net 1 onto any nets;  images, labels: n >= 1 of them.

    >>> from lib.nets import VGG, initialise
    >>> net = initialise(VGG(width=1 / 16, side=8, pools=3, hidden=8), generator=0)
    >>> x = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> graft_errors(graft_layers(net, net, x, [3]), net, x, net.eval()(x).argmax(1))
    (0.0,)
    """
    first = sharing_parameters(net1)
    wrong = [0] * len(grafts)
    with torch.no_grad():
        for x, y in zip(images.split(batch), labels.split(batch), strict=True):
            g = first.preactivations(x, max(graft.layer for graft in grafts))
            for number, graft in enumerate(grafts):
                f = graft.net.feature(graft.layer, g[graft.layer - 1])
                wrong[number] += int((graft.net.tail(graft.layer, f).argmax(1) != y).sum())
    return tuple(w / len(images) for w in wrong)


def random_features(
    like: Chain, layer: int, channels: int, *, generator: torch.Generator | int
) -> Chain:
    """A net whose first features are one random 3x3 convolution of the image: a baseline without
    depth or training.

    Graft it at layer 1 onto layer l + 1 of a net to replace all of that net's first l layers by
    random filters.

    Args:
        like: a net with a convolution at `layer`, whose number of channels is taken.
        channels: of the images;  generator: of the filters, or its seed.
    Raises:
        TypeError: the layer of `like` is no convolution.

    >>> from lib.nets import VGG
    >>> random_features(VGG(width=1 / 16), 3, 3, generator=0).joint(1)
    Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    """
    joint = like.joint(layer)
    if not isinstance(joint, nn.Conv2d):
        raise TypeError(f"layer {layer} is {type(joint).__name__}: expected Conv2d")
    shape = Geometry(channels, joint.out_channels, (3, 3), padding=(1, 1, 1, 1))
    size = (shape.outputs, channels, 3, 3)
    weight = torch.randn(size, generator=source_of(generator, "random_features"))
    weight = (weight * (2 / (9 * channels)) ** 0.5).to(joint.weight)
    filters = shape.build(weight, weight.new_zeros(shape.outputs))
    # the second joint is never used: a graft replaces it
    return Chain([filters, nn.Identity()], [nn.ReLU()]).eval()


def _error(net: Chain, images: Tensor, labels: Tensor, batch: int = 256) -> float:
    with torch.no_grad():
        if net(images[:1]).dim() != 2:
            return float("nan")
        parts = zip(images.split(batch), labels.split(batch), strict=True)
        return sum(int((net(x).argmax(1) != y).sum()) for x, y in parts) / len(images)
