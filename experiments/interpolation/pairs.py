"""The nets of Fig. 3(b): three initialisers, trained on the same minibatches, at any width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from experiments.families import Run, train_family
from lib.nets import VGG, Design
from lib.train.sgd import Execution, Recipe

NORMAL, CODE, HE = KINDS = ("code_normal", "code_uniform", "he_uniform")


@dataclass(frozen=True)
class Setting:
    """How the nets of Fig. 3(b) are built and trained, whatever their width.

    Args:
        design: at the reference width, with its fully connected width given;  recipe: there.
        processes, execution: see `experiments.families.Run`.
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
    place = setting.folder and setting.folder / f"width-{width:g}-seed-{seed}"
    members = train_family(
        design,
        [(how, 0) for how in kinds],
        x.to(setting.execution.device),
        y.to(setting.execution.device),
        recipe,
        seed=seed,
        checkpoints=range(1, recipe.epochs + 1),
        run=Run(setting.execution, setting.processes, place, setting.minutes),
    )
    return {m.how: {e: net.cpu() for e, net in m.nets.items()} for m in members}
