"""Images as the nets want them: standardised (n, channels, side, side), and the crops and flips of
training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lib.nets.samples import check_finite


def to_images(
    pixels: np.ndarray | Tensor, side: int = 32, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Pixels as (n, channels, side, side), each channel with mean 0 and variance 1 over this set of
    images.

    Each split is standardised by its own statistics, as the authors did. Images of another size are
    resized bilinearly, before they are standardised.

    Args:
        pixels: (n, height, width) or (n, height, width, channels), any number type.
        side: wanted height and width in pixels.
    Raises:
        ValueError: another shape, numbers that are not finite, or a channel that is constant.

    Source: (Gu et al. 2020), the authors' code.

    >>> x = to_images(np.arange(2 * 8 * 8).reshape(2, 8, 8), side=32)
    >>> tuple(x.shape), abs(round(x.mean().item(), 5))
    ((2, 1, 32, 32), 0.0)
    """
    x = torch.as_tensor(np.asarray(pixels)).to(torch.float64)
    if x.dim() == 3:
        x = x.unsqueeze(-1)
    if x.dim() != 4 or x.shape[0] == 0:
        raise ValueError(
            f"pixels have shape {tuple(x.shape)}: expected (n, height, width) or (n, height, width,"
            " channels), n >= 1"
        )
    x = x.permute(0, 3, 1, 2).to(dtype)
    check_finite("pixels", x)
    if x.shape[-2:] != (side, side):
        x = functional.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)
    mean, std = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True, correction=0)
    rounding = 64 * torch.finfo(x.dtype).eps * x.abs().amax((0, 2, 3), keepdim=True)
    varies = std > rounding
    if not bool(varies.all()):
        raise ValueError(
            f"channel {int(varies.flatten().int().argmin())} of the images is constant: it cannot"
            " be standardised"
        )
    return ((x - mean) / std).contiguous()


def draw_crops(n: int, pad: int, generator: torch.Generator) -> Tensor:
    """Where to cut and whether to mirror n images: rows (down, right, flip), down and right in 0..2
    pad - 1.

    The largest offset, 2 pad, never comes up: the authors draw from a half-open range.

    >>> draw_crops(3, 4, torch.Generator().manual_seed(0)).shape
    torch.Size([3, 3])
    """
    offsets = torch.randint(0, max(1, 2 * pad), (n, 2), generator=generator)
    return torch.cat([offsets, torch.randint(0, 2, (n, 1), generator=generator)], dim=1)


def crop(images: Tensor, crops: Tensor, pad: int) -> Tensor:
    """Pad by zeros, cut back to size at the offset of each image, and mirror where asked.

    Args:
        images: (n, channels, height, width);  crops: (n, 3) from `draw_crops`;  pad: pixels on
            every side.
    Returns:
        As the images.

    >>> x = torch.arange(4.0).reshape(1, 1, 2, 2)
    >>> crop(x, torch.tensor([[1, 1, 1]]), pad=1)
    tensor([[[[1., 0.],
              [3., 2.]]]])
    """
    n, channels, height, width = images.shape
    if crops.shape != (n, 3):
        raise ValueError(
            f"crops have shape {tuple(crops.shape)}: expected ({n}, 3), one row an image"
        )
    padded = functional.pad(images, (pad, pad, pad, pad))
    rows = crops[:, :1] + torch.arange(height, device=images.device)
    along = torch.arange(width, device=images.device).expand(n, width)
    columns = crops[:, 1:2] + torch.where(crops[:, 2:] == 1, along.flip(1), along)
    image, channel = (
        torch.arange(n, device=images.device),
        torch.arange(channels, device=images.device),
    )
    return padded[
        image[:, None, None, None],
        channel[:, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]
