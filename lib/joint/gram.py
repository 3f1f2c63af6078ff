"""The Gram matrix of unfolded patches, from the shift structure of a convolution instead of from
the patches.

Entry ((c, a), (c', a')) of the Gram is the sum over output positions y of F_c(y + a) F_c'(y + a'),
F extended by zeros. With t = y + a it sums F_c(t) F_c'(t + a' - a) over a window of t: the
correlation of the maps at shift a' - a, less the rows and columns of t that the window leaves out.
A 3x3 kernel has 81 pairs of taps and 13 shifts up to sign; and the borders that are left out are
strips of one or two pixels."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from lib.joint.canvas import Canvas
from lib.joint.geometry import Geometry, Pair

Window = tuple[range, range]  # rows and columns
METHODS = ("auto", "shifts", "unfold")
CHUNK = 1 << 24  # numbers in one chunk of unfolded patches: 64 MB in float32


def patch_gram(maps: Tensor, shape: Geometry, method: str = "auto") -> Tensor:
    """The Gram of unfolded patches, sum over images and positions of u u^T, for one group of
    channels.

    Args:
        maps: (n, channels, rows, columns), the channels of one group.
        shape: the joint; its `inputs` and `groups` are not used.
        method: "shifts" (stride 1 only), "unfold" (any joint), or "auto" for the faster one.
    Returns:
        (channels * taps, channels * taps), in the dtype of the maps, in the order of `nn.Unfold`.
    Raises:
        ValueError: an unknown method, or shifts asked for at another stride.

    >>> shape = Geometry(2, 1, kernel=(3, 3), padding=(1, 1, 1, 1))
    >>> x = torch.randn(4, 2, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    >>> shifts, unfolded = (patch_gram(x, shape, m) for m in ("shifts", "unfold"))
    >>> bool(torch.allclose(shifts, unfolded, rtol=1e-12))
    True
    """
    _check(shape, method)
    # Without overlap every patch element is used once and there is no structure to exploit.
    if method == "unfold" or (method == "auto" and (shape.stride != (1, 1) or shape.taps == 1)):
        return _by_unfolding(maps, shape)
    return _by_shifts(maps, shape)


def _by_unfolding(maps: Tensor, shape: Geometry) -> Tensor:
    unknowns = maps.shape[1] * shape.taps
    gram = maps.new_zeros(unknowns, unknowns)
    for part in torch.split(maps, _images_at_once(maps, shape)):
        patches = shape.unfold(part).transpose(0, 1).reshape(unknowns, -1)
        gram.addmm_(patches, patches.T)
    return gram


def _by_shifts(maps: Tensor, shape: Geometry) -> Tensor:
    channels, (rows, columns) = maps.shape[1], maps.shape[-2:]
    inside = _windows(shape, rows, columns)
    canvas = Canvas(maps, columns + min(shape.dilation[1] * (shape.kernel[1] - 1), columns - 1))
    gram = maps.new_zeros(channels, shape.taps, channels, shape.taps)
    taps = list(itertools.product(range(shape.kernel[0]), range(shape.kernel[1])))
    known: dict[tuple[Pair, Window], Tensor] = {}

    def strip(shift: Pair, window: Window) -> Tensor:
        key = (shift, window)
        if key not in known:
            known[key] = canvas.correlation(shift, window)
        return known[key]

    for (i, first), (j, second) in itertools.product(enumerate(taps), repeat=2):
        if j < i:
            continue  # the Gram is symmetric
        down, right = (d * (b - a) for d, a, b in zip(shape.dilation, first, second, strict=True))
        block = maps.new_zeros(channels, channels)
        for sign, window in _pieces(inside[first], rows, columns):
            block = block + sign * strip((down, right), window)
        gram[:, i, :, j] = block
        gram[:, j, :, i] = block.T
    return gram.reshape(channels * shape.taps, channels * shape.taps)


def patch_cross(maps: Tensor, target: Tensor, shape: Geometry, method: str = "auto") -> Tensor:
    """The products of unfolded patches with a target, sum over images and positions of g u^T, for
    one group.

    Args:
        maps: (n, channels, rows, columns);  target: (n, outputs, output rows, output columns).
        shape, method: as in `patch_gram`.
    Returns:
        (outputs, channels * taps), in the shape of a joint's weight.
    Raises:
        ValueError: a target of another size than the joint's output, or as in `patch_gram`.

    >>> shape = Geometry(2, 3, kernel=(3, 3), padding=(1, 1, 1, 1))
    >>> generator = torch.Generator().manual_seed(0)
    >>> x, g = (torch.randn(4, c, 5, 5, dtype=torch.float64, generator=generator) for c in (2, 3))
    >>> shifts, unfolded = (patch_cross(x, g, shape, m) for m in ("shifts", "unfold"))
    >>> bool(torch.allclose(shifts, unfolded, rtol=1e-12))
    True
    """
    _check(shape, method)
    rows, columns = shape.output_size(*maps.shape[-2:])
    if target.shape[0] != maps.shape[0] or target.shape[2:] != (rows, columns):
        raise ValueError(
            f"the target has shape {tuple(target.shape)}: expected ({maps.shape[0]}, outputs,"
            f" {rows}, {columns}) for maps {tuple(maps.shape)}"
        )
    if method == "unfold" or (method == "auto" and (shape.stride != (1, 1) or shape.taps == 1)):
        cross = maps.new_zeros(target.shape[1], maps.shape[1] * shape.taps)
        images = _images_at_once(maps, shape)
        for part, aim in zip(torch.split(maps, images), torch.split(target, images), strict=True):
            patches = shape.unfold(part).transpose(0, 1).reshape(cross.shape[1], -1)
            cross.addmm_(aim.transpose(0, 1).reshape(cross.shape[0], -1), patches.T)
        return cross
    # Both on one pitch, wide enough that no shift carries a pixel of one row onto the next row of
    # the other.
    pitch = max(maps.shape[-1] + max(shape.padding[2:]), columns)
    source, wanted = Canvas(maps, pitch), Canvas(target, pitch)
    cross = maps.new_zeros(target.shape[1], maps.shape[1], shape.taps)
    for i, tap in enumerate(itertools.product(range(shape.kernel[0]), range(shape.kernel[1]))):
        edges = shape.padding[::2]
        down, right = (d * t - p for d, t, p in zip(shape.dilation, tap, edges, strict=True))
        cross[:, :, i] = wanted.product(source, (down, right))
    return cross.flatten(1)


def patch_sums(maps: Tensor, shape: Geometry) -> Tensor:
    """The sum of every element of the unfolded patches over images and positions, in float64.

    Returns:
        (channels * taps,).

    >>> patch_sums(torch.ones(1, 1, 2, 2), Geometry(1, 1, kernel=(2, 2))).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    return shape.unfold(maps.sum(0, keepdim=True, dtype=torch.float64))[0].sum(1)


def _check(shape: Geometry, method: str) -> None:
    if method not in METHODS:
        raise ValueError(f"no method {method!r}: expected {', '.join(METHODS)}")
    if method == "shifts" and shape.stride != (1, 1):
        raise ValueError(
            f"shifts need stride 1, the joint has {shape.stride}: use method 'unfold' or 'auto'"
        )


def _images_at_once(maps: Tensor, shape: Geometry) -> int:
    rows, columns = shape.output_size(*maps.shape[-2:])
    return max(1, CHUNK // (maps.shape[1] * shape.taps * rows * columns))


def _windows(shape: Geometry, rows: int, columns: int) -> dict[Pair, Window]:
    """For every tap, the rows and columns of the maps that it meets while the kernel moves, as
    ranges."""
    out = shape.output_size(rows, columns)
    windows = {}
    for tap in itertools.product(range(shape.kernel[0]), range(shape.kernel[1])):
        axes = []
        for axis, size in ((0, rows), (1, columns)):
            start = tap[axis] * shape.dilation[axis] - shape.padding[2 * axis]
            axes.append(range(min(max(0, start), size), max(0, min(size, start + out[axis]))))
        windows[tap] = (axes[0], axes[1])
    return windows


def _pieces(window: Window, rows: int, columns: int) -> Iterator[tuple[int, Window]]:
    """A window as everything, less the rows left out, less the columns left out, plus their
    corners."""
    left_out = []
    for inside, size in zip(window, (rows, columns), strict=True):
        sides = (range(inside.start), range(inside.stop, size)) if len(inside) else (range(size),)
        left_out.append([side for side in sides if len(side)])
    everything = (range(rows), range(columns))
    yield 1, everything
    for side in left_out[0]:
        yield -1, (side, everything[1])
    for side in left_out[1]:
        yield -1, (everything[0], side)
    for corner in itertools.product(left_out[0], left_out[1]):
        yield 1, corner
