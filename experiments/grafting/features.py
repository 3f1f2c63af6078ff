"""Features of a graft beside those of the net it was grafted onto, and how alike three measures
find the features of two nets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lib.graft import downstream_distances, graft, graft_fresh, graft_layers
from lib.nets import Chain
from lib.similarity import cka, regression, svcca

MEASURES = {"CKA": cka, "SVCCA": svcca, "regression $R^2$": regression}


@dataclass(frozen=True, eq=False)
class Scatter:
    """Channel means of a graft against those of net 2 at one layer, standardised by net 2's.

    Args:
        layer: where;  theirs, ours: one entry for each image and channel that varies in net 2.
    """

    layer: int
    theirs: np.ndarray
    ours: np.ndarray

    @property
    def correlation(self) -> float:
        """Over all images and channels."""
        return float(np.corrcoef(self.theirs, self.ours)[0, 1])

    def thinned(self, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """At most so many of the points, drawn at random."""
        n = len(self.theirs)
        take = np.random.default_rng(seed).choice(n, min(n, count), replace=False)
        return self.theirs[take], self.ours[take]


def channel_means(
    pair: tuple[Chain, Chain], layer: int, fit: Tensor, images: Tensor, places: Sequence[int]
) -> list[Scatter]:
    """Graft at a layer and compare channel means on images at several later layers.

    Args:
        pair: (net 1, net 2);  fit: images on which the joint is matched;  places: layers of net 2.
    """
    shown = graft(*pair, fit, layer)
    with torch.no_grad():
        ours, theirs = shown.net.features(images), pair[1].features(images)
    found = []
    for place in places:
        a, b = (
            f[place].reshape(len(images), f[place].shape[1], -1).mean(2).double().cpu()
            for f in (ours, theirs)
        )
        alive = b.std(0) > 0
        mean, std = b[:, alive].mean(0), b[:, alive].std(0)
        a, b = (((f[:, alive] - mean) / std).flatten().numpy() for f in (a, b))
        found.append(Scatter(place, b, a))
    return found


def fading(
    pairs: Sequence[tuple[Chain, Chain]],
    layers: Sequence[int],
    images: Tensor,
    *,
    fresh: bool = False,
) -> dict[int, np.ndarray]:
    """The normalised distance of Eq. (6) from the joint to the output.

    Args:
        fresh: with joints that nothing matched, the null.
    Returns:
        grafted layer l -> (pairs, layers l + 1 to the output).
    """
    rows: dict[int, list] = {l: [] for l in layers}
    for a, b in pairs:
        grafts = (
            [graft_fresh(a, b, images, l, generator=l) for l in layers]
            if fresh
            else graft_layers(a, b, images, layers)
        )
        for found in grafts:
            rows[found.layer].append(downstream_distances(found, b, images).distance)
    return {l: np.array(d) for l, d in rows.items()}


def likeness(
    pairs: Sequence[tuple[Chain, Chain]], images: Tensor, last: int, *, samples: int = 4000
) -> np.ndarray:
    """Three similarity measures of the features of layers 1 to `last`, every position of every
    image being a sample.

    Args:
        samples: positions taken, about so many a layer.
    Returns:
        (pairs, layers, measures), measures in the order of `MEASURES`.
    """
    return np.array([_alike(a, b, images, last, samples) for a, b in pairs])


def _alike(net1: Chain, net2: Chain, images: Tensor, last: int, samples: int) -> list[list[float]]:
    with torch.no_grad():
        first, second = (net.features(images, last)[1:] for net in (net1, net2))
    rows = []
    for f, g in zip(map(_samples, first), map(_samples, second), strict=True):
        some = slice(None, None, -(-len(f) // samples))
        rows.append([measure(f[some], g[some]) for measure in MEASURES.values()])
    return rows


def _samples(f: Tensor) -> Tensor:
    """Feature maps (n, channels, rows, columns) with every position as a sample of channels."""
    return f.permute(0, 2, 3, 1).flatten(0, 2)
