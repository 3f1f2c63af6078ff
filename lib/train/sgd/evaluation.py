"""How good a net is on a set of images: cross entropy and accuracy, without dropout."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lib.nets.samples import check_classes, check_finite


@dataclass(frozen=True)
class Evaluation:
    """Means over images.

    Args:
        cross_entropy: in nats;  accuracy: in [0, 1];  images: how many.
    """

    cross_entropy: float
    accuracy: float
    images: int

    @property
    def error(self) -> float:
        """1 - accuracy."""
        return 1 - self.accuracy


def evaluate(
    net: nn.Module, images: Tensor, labels: Tensor, *, batch: int = 500, mixed: bool = False
) -> Evaluation:
    """Mean cross entropy and accuracy of a classifier over images.

    Args:
        net: (n, channels, height, width) -> logits (n, classes); all modes are restored afterwards.
        labels: int64 (n,);  batch: images at a time;  mixed: bfloat16 products.
    Raises:
        ValueError: no images, or not one label per image, or labels outside the classes.

    >>> evaluate(nn.Flatten(), torch.eye(3).reshape(3, 3, 1, 1), torch.tensor([0, 1, 1])).accuracy
    0.6666666666666666
    """
    if len(images) == 0 or labels.shape != (len(images),):
        raise ValueError(
            f"{len(images)} images and labels {tuple(labels.shape)}: expected n >= 1 and (n,)"
        )
    check_finite("images", images)
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    loss, right = 0.0, 0
    with torch.no_grad():
        for x, y in zip(images.split(batch), labels.split(batch), strict=True):
            with torch.autocast(x.device.type, torch.bfloat16, enabled=mixed):
                output = net(x)
            check_classes(y, output.shape[1])
            loss += functional.cross_entropy(output.double(), y, reduction="sum").item()
            right += int((output.argmax(1) == y).sum())
    for module, training in modes:
        module.training = training
    return Evaluation(loss / len(images), right / len(images), len(images))
