"""The nets of chapter 04: families of one design, and nets of other widths and penalties."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from experiments.families import Member, Run, train_family
from experiments.grafting.stages import Stage
from experiments.processes import in_processes
from lib.nets import Design
from lib.train.sgd import Execution, Recipe, evaluate


@dataclass(frozen=True, eq=False)
class Training:
    """What the nets of the chapter have in common.

    Args:
        design: at the reference width;  recipe: with the penalty's weight there.
        x, y: training images (n, ...) and labels;  stage: for stores and time.
        execution, processes, seed: see `experiments.families`.
    """

    design: Design
    recipe: Recipe
    x: Tensor
    y: Tensor
    stage: Stage
    execution: Execution
    processes: int | None
    seed: int

    def job(
        self, name: str, width: float, members: Sequence[tuple[str, int]], recipe: Recipe, kept
    ) -> partial[tuple[Member, ...]]:
        """How to train nets of one width; `_now` calls it."""
        folder = self.stage.folder
        return partial(
            train_family,
            replace(self.design, width=width),
            members,
            self.x,
            self.y,
            recipe,
            seed=self.seed,
            checkpoints=kept,
            run=Run(self.execution, folder=folder and folder / name),
        )

    def _now(self, job: partial[tuple[Member, ...]]) -> tuple[Member, ...]:
        """Train in what is left of the stage."""
        run = replace(job.keywords["run"], processes=self.processes, minutes=self.stage.left)
        return job(run=run)

    def main(self, wanted: Mapping[str, int], kept: Sequence[int]) -> dict[str, tuple[Member, ...]]:
        """Nets at the reference width, so many of each initialiser: initialiser -> nets."""
        members = [(how, r) for how, count in wanted.items() for r in range(count)]
        family = self._now(self.job("family", self.design.width, members, self.recipe, kept))
        return {how: tuple(m for m in family if m.how == how) for how in wanted}

    def on_shuffled_labels(self, nets: int, kept: Sequence[int]) -> tuple[Member, ...]:
        """Normal nets that learned labels in random order: trained, but on nothing."""
        order = torch.randperm(len(self.y), generator=torch.Generator().manual_seed(self.seed))
        wrong = replace(self, y=self.y[order.to(self.y.device)])
        members = [("code_normal", r) for r in range(nets)]
        return self._now(wrong.job("shuffled", self.design.width, members, self.recipe, kept))

    def others(
        self, wanted: Sequence[tuple[float, float, int]], epochs: int, kept: Sequence[int]
    ) -> list[tuple[Member, ...]]:
        """Further normal nets: one family for each (width, penalty over width, nets).

        With a folder they are trained one after the other, each in what is left of the stage.
        """
        stones = tuple(m for m in self.recipe.milestones if m < epochs)
        jobs = []
        for width, penalty, nets in wanted:
            recipe = replace(self.recipe, epochs=epochs, milestones=stones, weight=penalty * width)
            members = [("code_normal", r) for r in range(nets)]
            jobs.append(
                self.job(f"width-{width:g}-penalty-{penalty:g}", width, members, recipe, kept)
            )
        if self.stage.folder:
            return [self._now(job) for job in jobs]
        calls = [(partial(job, run=Run(self.execution, processes=1)),) for job in jobs]
        return in_processes(operator.call, calls, processes=self.processes)


def accuracies(nets: Sequence[Member], epochs: Sequence[int], x: Tensor, y: Tensor) -> np.ndarray:
    """Accuracy of every net after every epoch on images x with labels y, (nets, epochs)."""
    return np.array([[evaluate(m.nets[e], x, y).accuracy for e in epochs] for m in nets])
