"""Fitting a layer of a mixture as the authors of Gu et al. (2020) did: Adam on the post-ReLU maps
plus l_{1,2}."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lib.joint import Geometry
from lib.joint.geometry import with_bias
from lib.nets.initialisers import draw_joint
from lib.train.sgd.regulariser import l12


@dataclass(frozen=True)
class LayerTraining:
    """Algorithm 2 in the authors' code, as the `fit` of `MixtureOptions`.

    Args:
        seed: of the initial weights and the minibatches of every layer.
        epochs: 7;  lr: of Adam, 1e-3;  batch: 64 images.
        factor: of the matching loss, 300;  weight: of the l_{1,2} penalty of the layer, 1.
    """

    seed: int = field(kw_only=True)
    epochs: int = 7
    lr: float = 1e-3
    batch: int = 64
    factor: float = 300.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        positive = self.lr > 0 and self.factor > 0 and self.weight >= 0
        if self.epochs < 1 or self.batch < 1 or not positive:
            raise ValueError(f"{self}: expected epochs, batch >= 1, lr, factor > 0, weight >= 0")

    def __call__(
        self, shape: Geometry, inputs: Sequence[Tensor], targets: Sequence[Tensor], layer: int
    ) -> Tensor:
        """min over (w, b) of factor * mean (relu t - relu (w * f + b))^2 + weight * l_{1,2}(w), by
        Adam from a fresh start.

        Args:
            shape: of the joint; its channels do not count.
            inputs: features f in parts;  targets: pre-activations t in the same parts.
            layer: whose initial weights and minibatches are drawn.
        Returns:
            (targets, inputs * taps + 1), the bias last.
        Source: the authors' code of (Gu et al. 2020, Alg. 2).
        """
        f, t = torch.cat(list(inputs)), torch.cat(list(targets)).relu()
        shape = replace(shape, inputs=f.shape[1], outputs=t.shape[1])
        weight, bias = torch.zeros(shape.outputs, shape.unknowns), torch.zeros(shape.outputs)
        student = shape.build(weight, bias)
        generator = torch.Generator().manual_seed(self.seed * 1000 + layer)
        draw_joint(student, "code_normal", layer=layer, generator=generator)
        with torch.enable_grad():
            optimiser = torch.optim.Adam(student.parameters(), lr=self.lr)
            for _ in range(self.epochs):
                order = torch.randperm(len(f), generator=generator)
                for part in torch.split(order, self.batch):
                    optimiser.zero_grad()
                    matched = (t[part] - student(f[part]).relu()).square().mean()
                    (self.factor * matched + self.weight * l12(student.weight)).backward()
                    optimiser.step()
        return with_bias(student)
