"""Convolutions on maps of a few pixels as plain matrix products, which skip what the padding
multiplies by zero."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lib.joint.geometry import geometry
from lib.nets import Chain

PIXELS = 4  # 2 x 2 maps under a 3 x 3 kernel: 16 of the 36 products of a padded convolution are not with zeros


def taps_of(joint: nn.Module, rows: int, columns: int) -> tuple[Tensor, tuple[int, int]]:
    """Which kernel element lies between an output and an input pixel, the number of taps where none
    does.

    Args:
        joint: a convolution;  rows, columns: of its input.
    Returns:
        int64 (output pixels, input pixels), and the output's rows and columns.

    >>> taps_of(nn.Conv2d(1, 1, 3, padding=1), 1, 2)
    (tensor([[4, 5],
            [3, 4]]), (1, 2))
    """
    shape = geometry(joint)
    size = shape.output_size(rows, columns)
    taps = torch.full((*size, rows, columns), shape.taps)
    for down in range(taps.shape[0]):
        for right in range(taps.shape[1]):
            for tap in range(shape.taps):
                row = (
                    down * shape.stride[0]
                    + tap // shape.kernel[1] * shape.dilation[0]
                    - shape.padding[0]
                )
                column = (
                    right * shape.stride[1]
                    + tap % shape.kernel[1] * shape.dilation[1]
                    - shape.padding[2]
                )
                if 0 <= row < rows and 0 <= column < columns:
                    taps[down, right, row, column] = tap
    return taps.flatten(2).flatten(0, 1), size


def small_maps(net: Chain, x: Tensor) -> dict[int, tuple[int, int]]:
    """The layers of a net that read maps of at most `PIXELS` pixels, and the rows and columns of
    these.

    Args:
        x: one image or more.

    >>> net = Chain([nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)], [nn.MaxPool2d(2)])
    >>> small_maps(net, torch.zeros(1, 1, 4, 4))
    {2: (2, 2)}
    """
    found, features = {}, net.features(x[:1])
    for layer, joint in enumerate(net.joints, start=1):
        f = features[layer - 1]
        if type(joint) is nn.Conv2d and joint.groups == 1 and f.shape[2] * f.shape[3] <= PIXELS:
            found[layer] = tuple(f.shape[2:])
    return found


def dense(joint: nn.Conv2d, taps: Tensor) -> tuple[Tensor, Tensor]:
    """The convolution as (inputs * pixels, outputs * pixels), its transpose contiguous, and its
    bias.

    >>> joint = nn.Conv2d(2, 3, 3, padding=1)
    >>> x = torch.randn(4, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    >>> weight, bias = dense(joint, taps_of(joint, 2, 2)[0])
    >>> bool(torch.allclose(x.flatten(1) @ weight + bias, joint(x).flatten(1), atol=1e-6))
    True
    """
    outputs, inputs = joint.weight.shape[:2]
    kernel = torch.cat([joint.weight.flatten(2), joint.weight.new_zeros(outputs, inputs, 1)], 2)
    weight = kernel[:, :, taps].transpose(1, 2).reshape(outputs * len(taps), -1)
    bias = weight.new_zeros(outputs) if joint.bias is None else joint.bias
    return weight.T, bias.repeat_interleave(len(taps))
