"""The plateau of the wide net on images: the net of Fig. 5, and every setting tried for it (claim
A10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from experiments.pruning.samples import Sample, agreement
from experiments.pruning.stuck_images import stuck
from experiments.pruning.training import Adam, Training, softmax_mse, train
from lib.merge import merge_neurons
from lib.nets import MLP, Loss, forward, init, mse

COSINE = 0.9  # the paper's threshold for neurons of one group
# Adam with so large an eps is gradient descent with momentum, at rate lr / eps
MOMENTUM = {"lr": 100.0, "eps": 1e3}


def wide_net(inputs: int, neurons: int, seed: int) -> MLP:
    """The net of Fig. 5 at its start: every parameter from N(0, 1/m^6), no biases, ten outputs.

    >>> wide_net(65, 20, 0).weights[0].shape
    torch.Size([20, 65])
    """
    return init(
        (inputs, neurons, 10),
        "relu",
        std=neurons**-3,
        bias=False,
        generator=torch.Generator().manual_seed(seed),
        dtype=torch.float32,
    )


@dataclass(frozen=True)
class Setting:
    """One reading of the paper's experiment: loss, images, start, and what Adam is told."""

    loss: Loss
    sample: Sample
    start: MLP
    options: dict[str, float] = field(default_factory=dict)


def other_settings(
    start: MLP, sample: Sample, pixels: Sample, exact: Sample, lr: float
) -> dict[str, Setting]:
    """Changes of one thing each, by name.

    Args:
        start: the net at its start;  sample: standardised images;  pixels: the same in [0, 1].
        exact: standardised, in double precision;  lr: of the paper.
    """
    milder = start.map(lambda p: p * start.widths[1] ** 1.5)  # N(0, 1/m^3)
    double = start.map(torch.Tensor.double)
    return {
        "outputs, pixels in [0, 1]": Setting(mse, pixels, start),
        "softmax, pixels in [0, 1]": Setting(softmax_mse, pixels, start),
        "outputs, eps of Adam 1e-4": Setting(mse, sample, start, {"eps": 1e-4}),
        "outputs, three times the rate": Setting(mse, sample, start, {"lr": 3 * lr}),
        "outputs, start N(0, 1/m^3)": Setting(mse, sample, milder),
        "outputs, descent with momentum": Setting(mse, sample, milder, MOMENTUM),
        "softmax, float64": Setting(softmax_mse, exact, double),
    }


def attempt(setting: Setting, lr: float, steps: int, records: Sequence[int]) -> Training:
    """Train one setting; `lr` unless it says otherwise."""
    rule = Adam(steps, loss=setting.loss, **{"lr": lr} | setting.options)
    return train(setting.start, setting.sample.x, setting.sample.y, rule, records=records)


@dataclass(frozen=True, eq=False)
class Outcome:
    """Where a setting is at the marked epoch.

    Args:
        curve: its losses up to there;  kept: the last over that at half the epochs; 1 would be a
            plateau.
        groups: of neurons at cosine 0.9;  agreement: of the merged net with the wide one.
        stuck: images given up, None where the loss is not that of the softmax.
    """

    curve: torch.Tensor
    kept: float
    groups: int
    agreement: float
    stuck: int | None


def outcome(setting: Setting, found: Training, records: Sequence[int], amplitude: float) -> Outcome:
    """Judge a training at the last of these records; half of its epoch must be one too."""
    at_mark = found.kept[len(records) - 1] if found.kept else found.net
    curve, sample = found.losses[: len(records)], setting.sample
    less = merge_neurons(at_mark, cosine=COSINE, amplitude=amplitude, x=sample.x)
    same = float(agreement(at_mark, less.net, sample).trace())
    is_softmax = setting.loss is softmax_mse
    given_up = stuck(forward(at_mark, sample.x), sample.labels) if is_softmax else None
    return Outcome(
        curve,
        float(curve[-1] / curve[records.index(records[-1] // 2)]),
        len(less.layers[0].groups),
        same,
        None if given_up is None else len(given_up.index),
    )
