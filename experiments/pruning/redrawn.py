"""The paper's Fig. 5 from several choices of the images and starts: the plateau, the groups of its
neurons, and the merged net in retraining (claims A10 to A10-retraining)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from experiments.pruning.plateau import COSINE
from experiments.pruning.samples import Sample, agreement
from experiments.pruning.stuck_images import Stuck, stuck
from experiments.pruning.training import Adam, Training, softmax_mse, train
from lib.critical import slow_windows
from lib.critical.windows import Window
from lib.merge import group_directions, merge_neurons
from lib.merge.neurons import NeuronMerge
from lib.nets import MLP, forward, init

LINKAGES = ("complete", "leader", "connected")
FIRST = {"slope": 0.3, "ratio": 1.25, "begin": 10}  # slow windows of retraining


@dataclass(frozen=True)
class Plan:
    """What is done with every draw.

    Args:
        rate, mark: of Adam, and the epoch of the merge;  amplitude: share of the largest to stay.
        dot: the epoch of retraining at which predictions are compared;  retraining: all of them.
    """

    rate: float
    mark: int
    amplitude: float
    dot: int
    retraining: int

    def train(self, net: MLP, sample: Sample) -> MLP:
        """The net at the marked epoch."""
        rule = Adam(self.mark, self.rate, softmax_mse)
        return train(net, sample.x, sample.y, rule, records=2).net

    def retrain(self, net: MLP, sample: Sample) -> Training:
        """A narrow net trained on, with the nets at all records."""
        steps = {0, self.dot, self.retraining}
        steps |= set(np.geomspace(1, self.retraining, 60).astype(int).tolist())
        rule = Adam(self.retraining, self.rate, softmax_mse)
        return train(net, sample.x, sample.y, rule, records=sorted(steps), keep=True)

    def at_dot(self, run: Training) -> MLP:
        """The retrained net at the epoch of the comparison."""
        return run.kept[run.steps.tolist().index(self.dot)]


@dataclass(frozen=True, eq=False)
class Draw:
    """One choice of images and start.

    Args:
        dense: the wide net at the marked epoch, of loss `level`;  given_up: its stuck images.
        merged: the merge of its neurons;  again: its retraining.
        groups: linkage -> number of groups of live neurons at cosine 0.9.
        same: share of the test images on which the retrained net predicts as the wide one.
        narrow: a net of the merged net's size from a random start, trained as long.
    """

    dense: MLP
    level: float
    given_up: Stuck
    merged: NeuronMerge
    again: Training
    groups: dict[str, int]
    same: float
    narrow: Training

    @property
    def first(self) -> float | None:
        """Loss of the first slow window of retraining over that of the wide net."""
        return ratio_of(self.again, self.level)

    @property
    def first_narrow(self) -> float | None:
        """The same of the net from a random start."""
        return ratio_of(self.narrow, self.level)


def rests(run: Training) -> tuple[Window, ...]:
    """The slow windows of a retraining."""
    return slow_windows(run.steps, run.losses, **FIRST)


def ratio_of(run: Training, level: float) -> float | None:
    """Loss of the first slow window over a level; None without one."""
    found = rests(run)
    return found[0].loss / level if found else None


def count_groups(net: MLP, dropped: Sequence[int]) -> dict[str, int]:
    """Linkage -> groups of the live neurons at cosine 0.9, visited by falling norm."""
    live = [k for k in range(net.widths[1]) if k not in set(dropped)]
    directions = net.weights[0][live]
    order = (-directions.norm(dim=1)).argsort()
    return {r: len(group_directions(directions, COSINE, rule=r, order=order)) for r in LINKAGES}


def follow(dense: MLP, sample: Sample, test: Sample, plan: Plan, seed: int) -> Draw:
    """Merge a wide net at the marked epoch and retrain it."""
    output = forward(dense, sample.x)
    merged = merge_neurons(dense, cosine=COSINE, amplitude=plan.amplitude, x=sample.x)
    options = {"std": dense.widths[1] ** -3.0, "bias": False, "dtype": dense.dtype}
    source = torch.Generator().manual_seed(seed)
    fresh = init(merged.net.widths, dense.activation, generator=source, **options)
    again, narrow = (plan.retrain(net, sample) for net in (merged.net, fresh))
    return Draw(
        dense,
        float(softmax_mse(output, sample.y)),
        stuck(output, sample.labels),
        merged,
        again,
        count_groups(dense, merged.layers[0].dropped),
        float(agreement(plan.at_dot(again), dense, test).trace()),
        narrow,
    )


def without(sample: Sample, index: torch.Tensor) -> Sample:
    """The sample without some of its images.

    >>> s = Sample(torch.eye(3), torch.eye(3), torch.arange(3))
    >>> without(s, torch.tensor([1])).labels
    tensor([0, 2])
    """
    keep = torch.ones(len(sample), dtype=torch.bool)
    keep[index] = False
    return Sample(sample.x[keep], sample.y[keep], sample.labels[keep])
