"""How good a net is on a set of images: cross entropy and accuracy, without dropout."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lib.nets.kinds import check_by_sample, evaluating
from lib.nets.samples import Data, check_alone, check_classes, check_finite, labelled_batches


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
    net: nn.Module,
    images: Data,
    labels: Tensor | None = None,
    *,
    batch: int = 500,
    mixed: bool = False,
) -> Evaluation:
    """Mean cross entropy and accuracy of a classifier over images.

    Args:
        net: (n, channels, height, width) -> logits (n, classes); all modes are restored afterwards.
        images: (n, ...) with labels int64 (n,), or batches (images, labels), such as a DataLoader.
        batch: images at a time, of a tensor;  mixed: bfloat16 products.
    Raises:
        ValueError: no images, or not one label per image, labels outside the classes, numbers that
            are not finite, or a net that does not treat every image by itself.

    >>> evaluate(nn.Flatten(), torch.eye(3).reshape(3, 3, 1, 1), torch.tensor([0, 1, 1])).accuracy
    0.6666666666666666
    """
    loss, right, count = 0.0, 0, 0
    check_by_sample(net)
    with evaluating(net), torch.no_grad():
        for x, y in labelled_batches(images, labels, batch):
            with torch.autocast(x.device.type, torch.bfloat16, enabled=mixed):
                output = net(x)
                if count == 0:
                    check_alone(net, x, output)
            check_classes(y, output.shape[1])
            check_finite("outputs of the net", output)
            loss += functional.cross_entropy(output.double(), y, reduction="sum").item()
            right += int((output.argmax(1) == y).sum())
            count += len(x)
    return Evaluation(loss / count, right / count, count)
