"""How a net is trained: every setting, with the authors' values as defaults, and the learning rate
of a step."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from lib.nets.checks import check_counts
from lib.train.sgd.regulariser import PENALTIES


@dataclass(frozen=True)
class Recipe:
    """The settings of training (Gu et al. 2020; authors' code).

    Args:
        epochs: >= 1;  steps: minibatches an epoch, None for as many as the images fill (the authors
            take 780).
        batch: images in a minibatch, >= 1.
        lr: learning rate after warm-up, > 0;  momentum: of Nesterov, in [0, 1).
        milestones: epochs after which it is multiplied by `decay`;  warmup: epochs of linear
            rise.
        penalty: one of `PENALTIES`, added with `weight` to the cross entropy.
        pad: crops of images padded by so many zeros, and flips; None for images as they are.
        flip: mirror half of the images (only with `pad`); off for digits, which do not survive it.

    >>> Recipe(epochs=30, milestones=(20,)).lr_at(epoch=20, step=0, steps=100)
    0.002
    """

    epochs: int = 200
    steps: int | None = None
    batch: int = 64
    lr: float = 0.01
    momentum: float = 0.9
    milestones: tuple[int, ...] = (60, 120, 180)
    decay: float = 0.2
    warmup: int = 1
    penalty: str = "l12"
    weight: float = 1.0
    pad: int | None = 4
    flip: bool = True

    def __post_init__(self) -> None:
        check_counts(self, "epochs", "batch", "steps", warmup=0, pad=0)
        if not (0 < self.lr < inf and 0 <= self.momentum < 1 and 0 < self.decay < inf):
            raise ValueError(
                f"lr {self.lr}, momentum {self.momentum}, decay {self.decay}: expected finite > 0,"
                " in [0, 1), finite > 0"
            )
        rising = sorted(self.milestones)
        if any(m < 1 for m in rising) or list(self.milestones) != rising:
            raise ValueError(f"milestones {self.milestones}: expected rising epochs >= 1")
        if self.penalty not in PENALTIES or not 0 <= self.weight < inf:
            raise ValueError(
                f"penalty {self.penalty!r} of weight {self.weight}: expected {PENALTIES}, finite"
                " >= 0"
            )

    def lr_at(self, epoch: int, step: int, steps: int) -> float:
        """The learning rate of a step: lr * decay^(milestones passed), rising linearly over the
        warm-up epochs.

        Args:
            epoch, step: from 0;  steps: minibatches an epoch.

        >>> [round(Recipe().lr_at(0, s, 4), 4) for s in range(4)]
        [0.0025, 0.005, 0.0075, 0.01]
        """
        lr = self.lr * self.decay ** sum(epoch >= m for m in self.milestones)
        if epoch < self.warmup:
            lr *= (epoch * steps + step + 1) / (self.warmup * steps)
        return lr

    def steps_for(self, images: int) -> int:
        """Minibatches an epoch for that many images.

        Raises:
            ValueError: fewer images than fill the minibatches.
        """
        steps = images // self.batch if self.steps is None else self.steps
        if steps < 1 or steps * self.batch > images:
            raise ValueError(
                f"{images} images do not fill {max(1, steps)} minibatches of {self.batch}: take"
                " more or smaller ones"
            )
        return steps
