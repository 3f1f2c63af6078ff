"""How far the features of a grafted net are from those of the net it was grafted onto, layer by
layer to the output."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lib.graft.exact import Graft
from lib.graft.joining import sharing_parameters
from lib.joint.least_squares import varying
from lib.nets import Chain
from lib.nets.samples import Data, in_batches


@dataclass(frozen=True, eq=False)
class Downstream:
    """Eq. (6) of Gu et al. (2020) behind the joint.

    Args:
        layers: m, m + 1, .. L2, numbers of net 2.
        distance: one number a layer: mean over channels of the normalised distance.
        silent: channels a layer that never vary in net 2, which the mean leaves out: their distance
            has no scale.
        per_channel: one tensor a layer, NaN for silent channels.
    """

    layers: tuple[int, ...]
    distance: tuple[float, ...]
    silent: tuple[int, ...]
    per_channel: tuple[Tensor, ...]


@torch.no_grad()
def downstream_distances(
    grafted: Graft, net2: Chain | nn.Sequential, x: Data, *, batch: int = 256
) -> Downstream:
    """The normalised distance between feature functions, Eq. (6), at the joint's layer and every
    later one.

    d^(l') = (1/m) sum_k (1/sqrt(s_k)) sqrt( (1/n) sum_i || f_k(theta~; x_i) - f_k(theta2; x_i) ||^2
    ), s_k = sum_ij var[f_k(theta2; X)_ij], the estimated variance of every pixel over the images.

    Args:
        grafted: from `graft` onto net2;  x: n >= 2 images, or batches of them.
    Raises:
        ValueError: fewer than two images, or numbers that are not finite.

    Source: (Gu et al. 2020, Eq. 6).

    >>> from lib.graft import graft
    >>> from lib.nets import VGG, initialise
    >>> small = {"width": 1 / 16, "side": 8, "pools": 3, "hidden": 8}
    >>> nets = [initialise(VGG(**small), generator=s) for s in (0, 1)]
    >>> x = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> result = downstream_distances(graft(*nets, x, 12), nets[1], x)
    >>> result.layers, len(result.distance)
    ((13, 14, 15, 16), 4)
    """
    second = sharing_parameters(net2)
    layers = tuple(range(grafted.onto, second.depth + 1))
    distances = [_Distance() for _ in layers]
    for part in in_batches(x, batch):
        ours = grafted.net.features(part)[grafted.layer + 1 :]
        theirs = second.features(part)[grafted.onto :]
        for distance, a, b in zip(distances, ours, theirs, strict=True):
            distance.add(a, b)
    n = distances[0].count
    if n < 2:
        raise ValueError(f"got {n} images: expected at least 2, for the variance of the features")
    per_channel = tuple(distance.per_channel() for distance in distances)
    silent = tuple(int(d.isnan().sum()) for d in per_channel)
    return Downstream(layers, tuple(d.nanmean().item() for d in per_channel), silent, per_channel)


class _Distance:
    """Sums for one layer over images: squared differences, and squares about the mean, merged batch
    by batch without cancellation (Chan et al. 1983)."""

    def __init__(self) -> None:
        self.count = 0
        self.apart = self.mean = self.squares = torch.zeros(())

    def add(self, ours: Tensor, theirs: Tensor) -> None:
        self.apart = self.apart + _by_channel((ours - theirs).double().square()).sum(0)
        f = theirs.double()
        n, mean = len(f), f.mean(0)
        moved = mean - self.mean
        total = self.count + n
        between = moved.square() * (self.count * n / total)
        self.squares = self.squares + (f - mean).square().sum(0) + between
        self.mean = self.mean + moved * (n / total)
        self.count = total

    def per_channel(self) -> Tensor:
        """The distance of every channel, NaN for those that never vary."""
        squares = varying(self.squares, self.count * self.mean.square(), torch.float64)
        variance = squares / (self.count - 1)
        scale = variance.reshape(len(variance), -1).sum(1)
        distance = (self.apart / self.count).sqrt() / scale.sqrt()
        return torch.where(scale > 0, distance, torch.nan)


def _by_channel(maps: Tensor) -> Tensor:
    return maps.reshape(*maps.shape[:2], -1).sum(2)
