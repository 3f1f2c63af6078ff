"""One pair of nets per seed: trained, joined by several paths, and beside them the pairs and paths
that must not look like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from experiments.interpolation.pairs import CODE, HE, KINDS, NORMAL, Setting, train_kinds
from experiments.interpolation.triangle import Triangle, triangle
from experiments.mixtures import PathSettings, paths_between
from experiments.processes import in_processes
from lib.mixture import MixtureOptions, loss_curve, mixtures, weight_path
from lib.mixture.curve import LossCurve
from lib.nets import VGG, Chain
from lib.symmetry import permute, rebasin
from lib.train.sgd import evaluate


@dataclass(frozen=True, eq=False)
class Data:
    """Images for training, for fitting mixtures and their last layers, and for scoring.

    Args:
        x, y: training images and labels;  count: of images for fitting, and as many for scoring.
    Raises:
        ValueError: fewer than 2 * count images.
    """

    x: Tensor
    y: Tensor
    count: int

    def __post_init__(self) -> None:
        if len(self.x) < 2 * self.count:
            raise ValueError(
                f"{len(self.x)} images: expected at least {2 * self.count}, to fit on {self.count}"
                " and to score on others"
            )

    @property
    def fit(self) -> tuple[Tensor, Tensor]:
        """Images and labels on which mixtures are fitted."""
        return self.x[: self.count], self.y[: self.count]

    @property
    def score(self) -> tuple[Tensor, Tensor]:
        """Others, on which all curves are measured."""
        part = slice(self.count, 2 * self.count)
        return self.x[part], self.y[part]


@dataclass(frozen=True, eq=False)
class PairTrial:
    """What one seed gives at one width.

    Args:
        nets: initialiser -> net after the last epoch.
        accuracy, loss: initialiser -> after every epoch, on all training images.
        curves: case -> way -> curve, gamma being the share of the first net.
        triangle: mixtures of the three initialisers, at the reference width.
    """

    seed: int
    width: float
    nets: Mapping[str, VGG]
    accuracy: Mapping[str, list[float]]
    loss: Mapping[str, list[float]]
    curves: Mapping[str, Mapping[str, LossCurve]]
    triangle: Triangle | None


def pair_trials(
    setting: Setting,
    widths: Sequence[float],
    data: Data,
    options: MixtureOptions,
    *,
    seeds: Sequence[int],
    simplex: int,
    processes: int,
) -> dict[float, list[PairTrial]]:
    """All trials: at the first width every case, at the others the paper's pair alone.

    Returns:
        width -> trials, in the order of the seeds.
    """
    jobs = [(setting, w, data, options, s, simplex if w == widths[0] else 0)
            for w in widths for s in seeds]  # fmt: skip
    found = in_processes(pair_trial, jobs, processes=processes)
    return {w: [t for t in found if t.width == w] for w in widths}


def pair_trial(
    setting: Setting, width: float, data: Data, options: MixtureOptions, seed: int, simplex: int
) -> PairTrial:
    """Train the nets of one seed and measure the paths between them.

    Args:
        simplex: steps along a side of the triangle; 0 for the paper's pair alone.
    """
    kinds = KINDS if simplex else (CODE, NORMAL)
    trained = train_kinds(setting, width, kinds, data.x, data.y, seed=seed)
    weight = setting.at_width(width)[1].weight
    last = max(trained[NORMAL])
    ends = {how: nets[last] for how, nets in trained.items()}
    seen = {
        how: [evaluate(nets[e], data.x, data.y) for e in range(1, last + 1)]
        for how, nets in trained.items()
    }
    join = PathSettings(seed, points=21, mixture=options, control=bool(simplex))
    curves = {"code": joined((ends[CODE], ends[NORMAL]), data, weight, join)}
    three = None
    if simplex:
        curves |= _cases(setting, width, data, trained, weight, join)
        three = triangle(
            [ends[how] for how in KINDS],
            simplex,
            data.fit,
            data.score,
            replace(options, inputs="teacher"),
            weight=weight,
            seed=seed,
        )
    return PairTrial(
        seed,
        width,
        ends,
        {how: [e.accuracy for e in rows] for how, rows in seen.items()},
        {how: [e.cross_entropy for e in rows] for how, rows in seen.items()},
        curves,
        three,
    )


def joined(
    pair: tuple[Chain, Chain], data: Data, weight: float, join: PathSettings
) -> dict[str, LossCurve]:
    """All ways between two nets, fitted on some images and scored on others."""
    score_x, score_y = data.score
    return paths_between(*pair, *data.fit, weight, join, score_x=score_x, score_y=score_y)


def mixed_curve(
    pair: tuple[Chain, Chain],
    data: Data,
    options: MixtureOptions,
    *,
    weight: float,
    seed: int,
    points: int = 11,
) -> LossCurve:
    """The path through feature space alone."""
    x, y = data.fit
    at = torch.linspace(0, 1, points, dtype=torch.float64)
    shares = [(g, 1 - g) for g in at.tolist()]
    found = mixtures(pair, x, shares, options, generator=seed, y=y, weight=weight)
    return loss_curve((m.net for m in found), *data.score, at, weight=weight)


def _cases(
    setting: Setting,
    width: float,
    data: Data,
    trained: Mapping[str, Mapping[int, VGG]],
    weight: float,
    join: PathSettings,
) -> dict[str, dict[str, LossCurve]]:
    """Other pairs, and the nulls: an untrained first net, one that learned shuffled labels, and a
    permuted copy of the second net."""
    last, seed = max(trained[NORMAL]), join.seed
    half = max(1, last // 2)
    second = trained[NORMAL][last]
    order = torch.randperm(len(data.y), generator=torch.Generator().manual_seed(seed))
    # checkpoints of its own, or a run with a store would resume the net of the true labels
    apart = setting.folder and setting.folder / "shuffled"
    misled = replace(setting, folder=apart)
    wrong = train_kinds(misled, width, (CODE,), data.x, data.y[order], seed=seed)[CODE][last]
    plain = replace(join, control=False)
    others = {
        "he": (trained[HE][last], second),
        "younger": (trained[CODE][half], second),
        "young": (trained[CODE][half], trained[NORMAL][half]),
    }
    curves = {name: joined(pair, data, weight, plain) for name, pair in others.items()}
    for name, first in (("untrained", trained[CODE][0]), ("shuffled", wrong)):
        mixed = mixed_curve((first, second), data, join.mixture, weight=weight, seed=seed)
        curves[name] = {"features": mixed}
    near = rebasin(second, shuffled_copy(second, seed))
    straight = weight_path(second, near, *data.score, gammas=11, weight=weight)
    curves["copy"] = {"aligned": straight}
    return curves


def shuffled_copy(net: Chain, seed: int) -> Chain:
    """The same net with the channels of every hidden layer in random order."""
    source = torch.Generator().manual_seed(seed)
    sizes = {layer: net.joint(layer).weight.shape[0] for layer in range(1, net.depth)}
    return permute(net, {k: torch.randperm(m, generator=source) for k, m in sizes.items()})
