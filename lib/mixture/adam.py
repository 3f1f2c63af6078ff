"""Fitting a layer of a mixture as the authors of Gu et al. (2020) did: Adam on the post-ReLU maps
plus l_{1,2}."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lib.joint.geometry import build, geometry
from lib.nets.initialisers import draw_joint
from lib.train.sgd.regulariser import l12


@dataclass(frozen=True)
class Matching:
    """The settings of Algorithm 2 in the authors' code.

    Args:
        epochs: 7;  rate: of Adam, 1e-3;  batch: 64 images.
        factor: of the matching loss, 300;  weight: of the l_{1,2} penalty of the layer, 1.
    """

    epochs: int = 7
    rate: float = 1e-3
    batch: int = 64
    factor: float = 300.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        if (
            self.epochs < 1
            or self.batch < 1
            or not (self.rate > 0 and self.factor > 0 and self.weight >= 0)
        ):
            raise ValueError(f"{self}: expected epochs, batch >= 1, rate, factor > 0, weight >= 0")


def match_features(
    joint: nn.Module,
    inputs: Sequence[Tensor],
    targets: Sequence[Tensor],
    how: Matching,
    *,
    layer: int,
    seed: int,
) -> Tensor:
    """min over (w, b) of factor * mean (relu t - relu (w * f + b))^2 + weight * l_{1,2}(w), by Adam
    from a fresh start.

    Args:
        joint: its kernel, stride and padding are taken.
        inputs: features f in parts;  targets: pre-activations t in the same parts.
        layer, seed: of the initial weights and the minibatches.
    Returns:
        (targets, inputs * taps + 1), the bias last.
    Source: the authors' code of (Gu et al. 2020, Alg. 2).
    """
    f, t = torch.cat(list(inputs)), torch.cat(list(targets)).relu()
    shape = replace(geometry(joint), inputs=f.shape[1], outputs=t.shape[1])
    student = build(shape, torch.zeros(shape.outputs, shape.unknowns), torch.zeros(shape.outputs))
    generator = torch.Generator().manual_seed(seed * 1000 + layer)
    draw_joint(student, "code_normal", layer=layer, generator=generator)
    with torch.enable_grad():
        optimiser = torch.optim.Adam(student.parameters(), lr=how.rate)
        for _ in range(how.epochs):
            for part in torch.randperm(len(f), generator=generator).split(how.batch):
                optimiser.zero_grad()
                matched = (t[part] - student(f[part]).relu()).square().mean()
                (how.factor * matched + how.weight * l12(student.weight)).backward()
                optimiser.step()
    return torch.cat([student.weight.detach().flatten(1), student.bias.detach()[:, None]], 1)
