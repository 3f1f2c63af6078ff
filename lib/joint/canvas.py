"""Maps laid out so that shifting them by pixels is an offset in memory, and sums of shifted
products need no copies."""

from __future__ import annotations

from torch import Tensor


class Canvas:
    """Maps as (channels, rows, columns + gap, images): a shift by (dy, dx) is then an offset in
    memory.

    The gap of zero columns catches what a shift pushes over the end of a row, so that whole rows
    enter one product of two views and nothing is copied.
    """

    def __init__(self, maps: Tensor, pitch: int) -> None:
        n, channels, self.rows, self.columns = maps.shape
        self.pitch, self.images = pitch, n
        self.pixels = maps.new_zeros(channels, self.rows, self.pitch, n)
        self.pixels[:, :, : self.columns] = maps.permute(1, 2, 3, 0)

    def correlation(self, shift: tuple[int, int], window: tuple[range, range]) -> Tensor:
        """The sum over t in the window of F(t) F(t + shift)^T, (channels, channels)."""
        down, right = shift
        channels = self.pixels.shape[0]
        top, bottom = max(window[0].start, -down), min(window[0].stop, self.rows - down)
        left, stop = max(window[1].start, -right), min(window[1].stop, self.columns - right)
        if top >= bottom or left >= stop:
            return self.pixels.new_zeros(channels, channels)
        if len(window[1]) == self.columns:
            flat = self.pixels.view(channels, -1)
            start = (top * self.pitch + max(0, -right)) * self.images
            length = ((bottom - top) * self.pitch - abs(right)) * self.images
            offset = (down * self.pitch + right) * self.images
            return (
                flat[:, start : start + length]
                @ flat[:, start + offset : start + offset + length].T
            )
        here = self.pixels[:, top:bottom, left:stop].reshape(channels, -1)
        there = self.pixels[:, top + down : bottom + down, left + right : stop + right].reshape(
            channels, -1
        )
        return here @ there.T

    def product(self, other: Canvas, shift: tuple[int, int]) -> Tensor:
        """The sum over t of self(t) other(t + shift)^T, (channels, other's channels), both on one
        pitch."""
        down, right = shift
        top, bottom = max(0, -down), min(self.rows, other.rows - down)
        if top >= bottom:
            return self.pixels.new_zeros(self.pixels.shape[0], other.pixels.shape[0])
        mine, theirs = (
            self.pixels.view(self.pixels.shape[0], -1),
            other.pixels.view(other.pixels.shape[0], -1),
        )
        offset = (down * self.pitch + right) * self.images
        start = max(top * self.pitch * self.images, -offset)
        stop = min(bottom * self.pitch * self.images, theirs.shape[1] - offset)
        return mine[:, start:stop] @ theirs[:, start + offset : stop + offset].T
