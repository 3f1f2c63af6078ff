"""Ways from one net to another: straight in the weights, straight after alignment, and through
feature space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from experiments.bands import from_columns, to_columns
from experiments.checkpoints import remember
from experiments.processes import in_processes
from lib.mixture import (
    MixtureOptions,
    loss_curve,
    mixtures,
    refit_top,
    weight_path,
)
from lib.mixture.between_weights import net_between
from lib.mixture.curve import LossCurve
from lib.nets import Chain
from lib.symmetry import rebasin


@dataclass(frozen=True)
class PathSettings:
    """What `paths_between` measures.

    Args:
        seed: of the alignment and of the draws of channels.
        points: of the two straight paths;  gammas: of those in feature space, all evenly spaced in
            [0, 1].
        mixture: of the path through feature space.
        control: also measure the straight path with its last layer refitted, at `gammas` points.
    """

    seed: int
    points: int = 101
    gammas: int = 11
    mixture: MixtureOptions = field(default_factory=MixtureOptions)
    control: bool = False


def paths_between(
    net1: Chain,
    net2: Chain,
    x: Tensor,
    y: Tensor,
    weight: float,
    settings: PathSettings,
    *,
    score_x: Tensor | None = None,
    score_y: Tensor | None = None,
) -> dict[str, LossCurve]:
    """The loss from net2 (gamma = 0) to net1 (gamma = 1) on the given images, several ways.

    "weights" is gamma theta_1 + (1 - gamma) theta_2; "aligned" the same with net2's neurons
    permuted by `rebasin`; "features" are mixtures whose last layer minimises cross entropy +
    weight * l_{1,2} on the images (Algorithm 2). With `settings.control`, "refitted" is "weights"
    whose last layer is refitted in the same way: what the refit alone does.

    Args:
        x, y: images and classes on which mixtures and last layers are fitted.
        weight: of the l_{1,2} penalty.
        score_x, score_y: on which all curves are measured; x, y if left out.
    Returns:
        One curve for each way.
    Raises:
        As `weight_path` and `mixtures`.
    Source: (Gu et al. 2020, Fig. 3b); alignment after (Ainsworth et al. 2023).

    >>> from lib.nets import VGG, initialise
    >>> small = {"width": 1 / 16, "side": 8, "pools": 3, "hidden": 8}
    >>> nets = [initialise(VGG(**small), generator=s) for s in (0, 1)]
    >>> x = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> short = PathSettings(0, points=5, gammas=3)
    >>> found = paths_between(*nets, x, torch.arange(24) % 10, 1.0, short)
    >>> {way: len(curve.gammas) for way, curve in found.items()}
    {'weights': 5, 'aligned': 5, 'features': 3}
    """
    to_x, to_y = (x, y) if score_x is None or score_y is None else (score_x, score_y)
    near = rebasin(net1, net2, generator=np.random.default_rng(settings.seed))
    at = torch.linspace(0, 1, settings.gammas, dtype=torch.float64)
    shares = [(g, 1 - g) for g in at.tolist()]
    fit = {"generator": settings.seed, "y": y, "weight": weight}
    mixed = mixtures((net1, net2), x, shares, settings.mixture, **fit)
    straight = {"gammas": settings.points, "weight": weight}
    found = {
        "weights": weight_path(net1, net2, to_x, to_y, **straight),
        "aligned": weight_path(net1, near, to_x, to_y, **straight),
        "features": loss_curve((m.net for m in mixed), to_x, to_y, at, weight=weight),
    }
    if settings.control:
        between = (net_between(net1, net2, g) for g in at.tolist())
        refitted = (refit_top(net, x, y, weight=weight) for net in between)
        found["refitted"] = loss_curve(refitted, to_x, to_y, at, weight=weight)
    return found


def all_paths(
    pairs: Mapping[str, tuple[Chain, Chain, float]],
    x: Tensor,
    y: Tensor,
    settings: PathSettings,
    *,
    score_x: Tensor | None = None,
    score_y: Tensor | None = None,
    processes: int = 1,
    folder: Path | None = None,
) -> dict[str, dict[str, LossCurve]]:
    """`paths_between` for several pairs of nets, dealt out over processes.

    Args:
        pairs: name -> (net1, net2, weight of the penalty).
        x, y, settings, score_x, score_y: as for `paths_between`.
        processes: one on each core; 1 for this one alone.
        folder: where finished pairs are kept as JSON, so that a killed run goes on; None for memory
            only.

    >>> from lib.nets import VGG, initialise
    >>> small = {"width": 1 / 16, "side": 8, "pools": 3, "hidden": 8}
    >>> nets = [initialise(VGG(**small), generator=s) for s in (0, 1)]
    >>> x = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> short = PathSettings(0, points=3, gammas=3)
    >>> list(all_paths({"both": (*nets, 1.0)}, x, torch.arange(24) % 10, short)["both"])
    ['weights', 'aligned', 'features']
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    files = [folder and folder / f"paths-{name}.json" for name in pairs]
    scored = {"score_x": score_x, "score_y": score_y}
    jobs = [
        (file, (*pair[:2], x, y, pair[2], settings), scored)
        for file, pair in zip(files, pairs.values(), strict=True)
    ]
    return dict(zip(pairs, in_processes(_remembered, jobs, processes=processes), strict=True))


def _remembered(file: Path | None, arguments, scored) -> dict[str, LossCurve]:
    found = remember(
        file,
        lambda: {
            way: to_columns(curve) for way, curve in paths_between(*arguments, **scored).items()
        },
    )
    return {way: from_columns(columns) for way, columns in found.items()}
