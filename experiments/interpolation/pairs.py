"""The nets of Fig. 3(b), and how far the curves between two of them are from convex."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from experiments.bands import Bands, bootstrap
from experiments.families import train_family
from lib.mixture import MixtureOptions, barrier, loss_curve, mixtures
from lib.mixture.barriers import Barrier
from lib.mixture.curve import LossCurve
from lib.nets import VGG, Chain, Design
from lib.train.sgd import Execution, Recipe

NORMAL, CODE, HE = KINDS = ("code_normal", "code_uniform", "he_uniform")


@dataclass(frozen=True)
class Setting:
    """How the nets of Fig. 3(b) are built and trained, whatever their width.

    Args:
        design: at the reference width, with its fully connected width given;  recipe: there.
        processes, execution: see `train_family`.
        folder: for checkpoints, or None;  minutes: of training per call, with a folder.
    """

    design: Design
    recipe: Recipe
    processes: int = 1
    execution: Execution = Execution()
    folder: Path | None = None
    minutes: float = float("inf")

    def at_width(self, width: float) -> tuple[Design, Recipe]:
        """Design and recipe at another width: the penalty's pull on a weight goes as 1 / width, so
        its weight goes with the width."""
        ratio = width / self.design.width
        hidden = max(8, round((self.design.hidden or 8) * ratio))
        return (
            replace(self.design, width=width, hidden=hidden),
            replace(self.recipe, weight=self.recipe.weight * ratio),
        )


def train_kinds(
    setting: Setting, width: float, kinds: Sequence[str], x: Tensor, y: Tensor, *, seed: int
) -> dict[str, dict[int, VGG]]:
    """Nets of one width from several initialisers, trained on the same minibatches.

    Returns:
        initialiser -> epoch -> net, on the CPU.
    """
    design, recipe = setting.at_width(width)
    members = train_family(
        design,
        [(how, 0) for how in kinds],
        x.to(setting.execution.device),
        y.to(setting.execution.device),
        recipe,
        seed=seed,
        checkpoints=range(1, recipe.epochs + 1),
        processes=setting.processes,
        execution=setting.execution,
        folder=setting.folder and setting.folder / f"width-{width:g}-seed-{seed}",
        minutes=setting.minutes,
    )
    return {m.how: {e: net.cpu() for e, net in m.nets.items()} for m in members}


@dataclass(frozen=True, eq=False)
class Score:
    """Barrier measures of a curve on eleven of its points, and their bootstrap bands."""

    curve: Barrier
    bands: Bands


def score(path: LossCurve, *, seed: int) -> Score:
    """Score a path; a straight one has more points than a path of mixtures, and both are scored on
    eleven."""
    path = path.every(max(1, (len(path.gammas) - 1) // 10))
    return Score(barrier(path.gammas, path.overall), bootstrap(path, seed=seed))


def score_all(
    ways: Mapping[str, Mapping[str, LossCurve]], *, seed: int
) -> dict[str, dict[str, Score]]:
    """Scores of all paths of all pairs: pair -> way -> score."""
    return {
        name: {way: score(path, seed=seed) for way, path in found.items()}
        for name, found in ways.items()
    }


def mixed_path(
    nets: Sequence[Chain],
    gammas: Tensor,
    x: Tensor,
    y: Tensor,
    options: MixtureOptions,
    *,
    weight: float,
    seed: int,
) -> LossCurve:
    """Mixtures of two nets at the given shares of the first, their last layer refitted, all on the
    same images."""
    shares = [(g, 1 - g) for g in gammas.tolist()]
    found = mixtures(nets, x, shares, options, generator=seed, y=y, weight=weight)
    return loss_curve((m.net for m in found), x, y, gammas, weight=weight)
