"""Ways from one net to another: straight in the weights, straight after alignment, and through
feature space."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as File

import torch
from torch import Tensor

from experiments.checkpoints import remember
from experiments.processes import in_processes
from lib.mixture.curve import Path
from lib.mixture.hybrid import mixtures
from lib.mixture.path import measure, weight_path
from lib.nets import Chain
from lib.symmetry.weight_matching import rebasin


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
    seed: int = 0,
) -> dict[str, Path]:
    """The loss from net2 (gamma = 0) to net1 (gamma = 1) on the given images, several ways.

    "weights" is gamma theta_1 + (1 - gamma) theta_2; "aligned" the same with net2's neurons
    permuted by `rebasin`; "features" are mixtures whose last layer minimises cross entropy +
    weight * l_{1,2} on the images (Algorithm 2).

    Args:
        weight: of the l_{1,2} penalty.
        points: of the two straight paths;  gammas: of those in feature space, all evenly spaced in
            [0, 1].
        width, inputs, ridge, seed: of the mixtures, see `mixtures`.
    Returns:
        One `Path` for each way.
    Raises:
        As `weight_path` and `mixtures`.
    Source: (Gu et al. 2020, Fig. 3b); alignment after (Ainsworth et al. 2023).

    >>> from lib.nets import VGG

    >>> from lib.nets import initialise
    >>> nets = [initialise(VGG(width=1 / 16, side=8, pools=3, hidden=8), generator=s) for s in (0, 1)]
    >>> x = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> found = paths_between(*nets, x, torch.arange(24) % 10, points=5, gammas=3)
    >>> {way: len(path.gammas) for way, path in found.items()}
    {'weights': 5, 'aligned': 5, 'features': 3}
    """
    near = rebasin(net1, net2, seed=seed)
    at = torch.linspace(0, 1, gammas, dtype=torch.float64)
    mixed = mixtures(
        (net1, net2),
        [(g, 1 - g) for g in at.tolist()],
        images,
        width=width,
        seed=seed,
        inputs=inputs,
        ridge=ridge,
        top="cross_entropy",
        labels=labels,
        weight=weight,
    )
    return {
        "weights": weight_path(net1, net2, images, labels, gammas=points, weight=weight),
        "aligned": weight_path(net1, near, images, labels, gammas=points, weight=weight),
        "features": measure([m.net for m in mixed], at, images, labels, weight=weight),
    }


def all_paths(
    pairs: Mapping[str, tuple[Chain, Chain, float]],
    images: Tensor,
    labels: Tensor,
    *,
    processes: int = 1,
    folder: File | None = None,
    **settings,
) -> dict[str, dict[str, Path]]:
    """`paths_between` for several pairs of nets, dealt out over processes.

    Args:
        pairs: name -> (net1, net2, weight of the penalty).
        processes: one a core; 1 for this one alone.
        folder: where finished pairs are kept as JSON, so that a killed run goes on; None for memory
            only.
        settings: of `paths_between`.

    >>> from lib.nets import VGG

    >>> from lib.nets import initialise
    >>> nets = [initialise(VGG(width=1 / 16, side=8, pools=3, hidden=8), generator=s) for s in (0, 1)]
    >>> x = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> list(all_paths({"both": (*nets, 1.0)}, x, torch.arange(24) % 10, points=3, gammas=3)["both"])
    ['weights', 'aligned', 'features']
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    files = [folder and folder / f"paths-{name}.json" for name in pairs]
    jobs = [
        (file, pair, images, labels, settings)
        for file, pair in zip(files, pairs.values(), strict=True)
    ]
    return dict(zip(pairs, in_processes(_remembered, jobs, processes=processes), strict=True))


def _remembered(
    file: File | None, pair, images: Tensor, labels: Tensor, settings
) -> dict[str, Path]:
    net1, net2, weight = pair
    found = remember(
        file,
        lambda: {
            way: path.columns()
            for way, path in paths_between(net1, net2, images, labels, weight, **settings).items()
        },
    )
    return {way: Path.of(columns) for way, columns in found.items()}
