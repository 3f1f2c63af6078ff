"""Ways from one net to another: straight in the weights, straight after alignment, and through feature space."""

from __future__ import annotations

import torch
from torch import Tensor

from lib.mixture.adam import Matching
from lib.mixture.hybrid import mixtures
from lib.mixture.path import Path, measure, weight_path
from lib.mixture.rebasin import rebasin
from lib.vgg.chain import Chain


def paths_between(
    net1: Chain,
    net2: Chain,
    images: Tensor,
    labels: Tensor,
    weight: float = 1.0,
    *,
    points: int = 101,
    gammas: int = 11,
    width: float = 2.0,
    inputs: str = "own",
    ridge: float = 0.0,
    matching: Matching | None = None,
    seed: int = 0,
) -> dict[str, Path]:
    """The loss from net2 (gamma = 0) to net1 (gamma = 1) on the given images, several ways.

    "weights" is gamma theta_1 + (1 - gamma) theta_2; "aligned" the same with net2's neurons permuted by `rebasin`;
    "features" are mixtures whose last layer minimises cross entropy + weight * l_{1,2} on the images, as in Algorithm 2;
    "matched" are such mixtures with their hidden layers trained by Adam, as the authors did.

    Args:
        weight: of the l_{1,2} penalty.
        points: of the two straight paths;  gammas: of those in feature space, all evenly spaced in [0, 1].
        width, inputs, ridge, seed: of the mixtures, see `mixtures`;  matching: None leaves "matched" out.
    Returns:
        One `Path` for each way.
    Raises:
        As `weight_path` and `mixtures`.
    Source: (Gu et al. 2020, Fig. 3b); alignment after (Ainsworth et al. 2023).

    >>> from lib.vgg import VGG, initialise
    >>> nets = [initialise(VGG(width=1 / 16, side=8, pools=3, hidden=8), seed=s) for s in (0, 1)]
    >>> x = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> found = paths_between(*nets, x, torch.arange(24) % 10, points=5, gammas=3)
    >>> {way: len(path.gammas) for way, path in found.items()}
    {'weights': 5, 'aligned': 5, 'features': 3}
    """
    near = rebasin(net1, net2, seed=seed)
    at = torch.linspace(0, 1, gammas, dtype=torch.float64)
    shares = [(g, 1 - g) for g in at.tolist()]
    last = {"top": "cross_entropy", "labels": labels, "weight": weight, "width": width, "seed": seed}
    mixed = {"features": mixtures((net1, net2), shares, images, inputs=inputs, ridge=ridge, **last)}
    if matching is not None:
        mixed["matched"] = mixtures((net1, net2), shares, images, matching=matching, **last)
    straight = {"weights": net2, "aligned": near}
    return {
        way: weight_path(net1, end, images, labels, gammas=points, weight=weight) for way, end in straight.items()
    } | {way: measure([m.net for m in found], at, images, labels, weight=weight) for way, found in mixed.items()}
