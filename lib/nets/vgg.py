"""VGG-16 and VGG-19 without batch normalisation, as Gu et al. (2020) trained them, at any width and
input size."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn
from torch.nn.utils import skip_init

from lib.nets.chain import Chain

BLOCKS = {
    11: ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    16: ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
    19: ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512, 512, 512), (512, 512, 512, 512)),
}


@dataclass(frozen=True)
class Design:
    """What determines the shapes of a VGG.

    Args:
        depth: 16 or 19 (11 for quick tries).
        width: multiplies the channels of every convolution, > 0; they are rounded and at least 1.
        hidden: neurons of the two hidden fully connected layers; None for 4096 * width.
        classes: outputs;  channels: of the input images.
        side: height = width of the input images in pixels.
        pools: how many of the 5 blocks, from the first, end in 2x2 max pooling: 5 takes 32 pixels
            to 1.
        dropout: probability of dropping a feature before each fully connected layer, in [0, 1).

    Raises:
        ValueError: a value out of range, or a side that the pools do not divide.

    >>> Design(width=1 / 8).conv_widths
    (8, 8, 16, 16, 32, 32, 32, 64, 64, 64, 64, 64, 64)
    """

    depth: int = 16
    width: float = 1.0
    hidden: int | None = None
    classes: int = 10
    channels: int = 3
    side: int = 32
    pools: int = 5
    dropout: float = 0.5

    def __post_init__(self) -> None:
        if self.depth not in BLOCKS:
            raise ValueError(
                f"depth is {self.depth}: expected one of {', '.join(map(str, BLOCKS))}"
            )
        if not 0 < self.width < math.inf:
            raise ValueError(f"width multiplier is {self.width}: expected a finite number > 0")
        if min(self.classes, self.channels, self.fc_width) < 1:
            raise ValueError(
                f"classes {self.classes}, channels {self.channels}, hidden {self.fc_width}:"
                " expected each >= 1"
            )
        if not 0 <= self.pools <= 5:
            raise ValueError(
                f"pools is {self.pools}: expected 0..5, one for each block that ends in max pooling"
            )
        if self.side < 1 or self.side % 2**self.pools:
            raise ValueError(
                f"side is {self.side} pixels: expected a multiple of 2^pools = {2**self.pools}; "
                "resize the images or use fewer pools"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}: expected in [0, 1)")

    @property
    def conv_widths(self) -> tuple[int, ...]:
        """m^(1) .. of the convolutional layers."""
        return tuple(max(1, round(c * self.width)) for block in BLOCKS[self.depth] for c in block)

    @property
    def fc_width(self) -> int:
        return max(1, round(4096 * self.width)) if self.hidden is None else self.hidden

    @property
    def block_ends(self) -> tuple[int, ...]:
        """The layers after which a block ends."""
        ends, layer = [], 0
        for block in BLOCKS[self.depth]:
            layer += len(block)
            ends.append(layer)
        return tuple(ends)


class VGG(Chain):
    """3x3 convolutions (padding 1), ReLU, 2x2 max pooling, then fully connected
    hidden-hidden-classes with dropout.

    Parameters start at zero, and nothing is drawn: draw them with `initialise`.

    Args:
        design: the shapes; or the fields of `Design` as keywords.

    Source: (Gu et al. 2020, Sec. 6) and the authors' code; architecture of Simonyan and Zisserman
        (2015).

    >>> import torch
    >>> net = VGG(width=1 / 16, side=32, hidden=64)
    >>> net.depth, net.n_conv, tuple(net(torch.zeros(2, 3, 32, 32)).shape)
    (16, 13, (2, 10))
    """

    def __init__(self, design: Design | None = None, **fields: Any) -> None:
        if design is not None and fields:
            raise ValueError(f"got a design and {sorted(fields)}: expected one or the other")
        chosen = design or Design(**fields)
        joints: list[nn.Module] = []
        activations: list[nn.Module] = []
        before, pooled = chosen.channels, chosen.block_ends[: chosen.pools]
        for layer, channels in enumerate(chosen.conv_widths, start=1):
            joints.append(skip_init(nn.Conv2d, before, channels, 3, padding=1))
            after: list[nn.Module] = [nn.ReLU()]
            if layer in pooled:
                after.append(nn.MaxPool2d(2))
            if layer == len(chosen.conv_widths):
                after += [nn.Flatten(), nn.Dropout(chosen.dropout)]
            activations.append(nn.Sequential(*after))
            before = channels
        before *= (chosen.side // 2**chosen.pools) ** 2
        for width in (chosen.fc_width, chosen.fc_width, chosen.classes):
            joints.append(skip_init(nn.Linear, before, width))
            activations.append(nn.Sequential(nn.ReLU(), nn.Dropout(chosen.dropout)))
            before = width
        super().__init__(joints, activations[:-1])
        self.design = chosen
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    @property
    def n_conv(self) -> int:
        """The number of convolutional layers: layers 1..n_conv are convolutions, the other three
        fully connected."""
        return len(self.design.conv_widths)

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v}" for k, v in asdict(self.design).items())
