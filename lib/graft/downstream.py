"""How far the features of a grafted net are from those of the net it was grafted onto, layer by
layer to the output."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib.graft.cut import Data, batches, sharing_parameters
from lib.graft.exact import Graft
from lib.nets import Chain


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


def downstream_distances(
    grafted: Graft, net2: Chain, data: Data, *, batch: int = 256
) -> Downstream:
    """The normalised distance between feature functions, Eq. (6), at the joint's layer and every
    later one.

    d^(l') = (1/m) sum_k (1/sqrt(s_k)) sqrt( (1/n) sum_i || f_k(theta~; x_i) - f_k(theta2; x_i) ||^2
    ), s_k = sum_ij var[f_k(theta2; X)_ij], the estimated variance of every pixel over the images.

    Args:
        grafted: from `graft` onto net2;  data: n >= 2 images, or batches of them.
    Raises:
        ValueError: fewer than two images.

    Source: (Gu et al. 2020, Eq. 6).

    >>> from lib.graft import graft
    >>> from lib.nets import VGG
    >>> from lib.nets import initialise
    >>> nets = [initialise(VGG(width=1 / 16, side=8, pools=3, hidden=8), generator=s) for s in (0, 1)]
    >>> x = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> result = downstream_distances(graft(*nets, 12, x), nets[1], x)
    >>> result.layers, len(result.distance)
    ((13, 14, 15, 16), 4)
    """
    second = sharing_parameters(net2)
    layers = tuple(range(grafted.onto, net2.depth + 1))
    squares: list[Tensor] = []
    variances: list[_Variance] = []
    n = 0
    with torch.no_grad():
        for x in batches(data, batch):
            ours, theirs = (
                grafted.net.features(x)[grafted.layer + 1 :],
                second.features(x)[grafted.onto :],
            )
            if not squares:
                squares = [f.new_zeros(f.shape[1], dtype=torch.float64) for f in theirs]
                variances = [_Variance() for _ in theirs]
            for total, variance, a, b in zip(squares, variances, ours, theirs, strict=True):
                total += (a - b).double().square().reshape(*a.shape[:2], -1).sum((0, 2))
                variance.add(b)
            n += len(x)
    if n < 2:
        raise ValueError(f"got {n} images: expected at least 2, for the variance of the features")
    per_channel = []
    for total, variance in zip(squares, variances, strict=True):
        scale = variance.squares / (n - 1)
        scale = scale.reshape(len(scale), -1).sum(1)
        per_channel.append(torch.where(scale > 0, (total / n).sqrt() / scale.sqrt(), torch.nan))
    silent = tuple(int(d.isnan().sum()) for d in per_channel)
    return Downstream(
        layers, tuple(d.nanmean().item() for d in per_channel), silent, tuple(per_channel)
    )


class _Variance:
    """The sum of squares about the mean over images, merged batch by batch without cancellation
    (Chan et al. 1983)."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, 0.0, 0.0

    def add(self, f: Tensor) -> None:
        f = f.double()
        n, mean = len(f), f.mean(0)
        apart = mean - self.mean
        total = self.count + n
        self.squares = (
            self.squares + (f - mean).square().sum(0) + apart.square() * (self.count * n / total)
        )
        self.mean = self.mean + apart * (n / total)
        self.count = total
