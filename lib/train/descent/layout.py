"""Nets to and from the layout of the CPU kernel: (*batch) nets d-m-k -> (units, vectors, 8 lanes).

One row of a net is a neuron with all it owns, (w_j, b_j, a_j), its inputs padded with zeros to a
multiple of four when there are several; the output bias follows the rows. Either eight nets lie
side by side in the lanes, or eight neurons of one net, whichever leaves less empty.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lib._simd.lanes import LANES, Floats, aligned
from lib.nets import MLP
from lib.train.descent.many_inputs import BLOCK


class Layout:
    """How nets of the shape of `net` lie in units.

    Args:
        net: two-layer nets d-m-k of any batch.

    >>> from lib.nets import init
    >>> layout = Layout(init((1, 3, 1), batch=(200,), generator=0))
    >>> layout.units, layout.rows, layout.vectors, layout.shared
    (25, 3, 10, False)
    >>> layout = Layout(init((5, 500, 2), generator=0))
    >>> layout.units, layout.rows, layout.inputs, layout.shared
    (1, 63, 8, True)
    """

    def __init__(self, net: MLP) -> None:
        self.like = net
        self.d, self.m, self.k = net.widths
        self.count = net.batch.numel()
        # Work is units times rows: take the arrangement with less of it.
        self.shared = self.count * -(-self.m // LANES) < -(-self.count // LANES) * self.m
        self.rows = -(-self.m // LANES) if self.shared else self.m
        self.units = self.count if self.shared else -(-self.count // LANES)
        self.scalar = self.d == self.k == 1
        self.inputs = 1 if self.scalar else -(-self.d // BLOCK) * BLOCK
        self.row = self.inputs + 1 + self.k
        self.vectors = self.rows * self.row + self.k

    def pack(self, net: MLP) -> Floats:
        """(..., *batch) nets -> (..., units, vectors, 8); absent biases and padding are 0."""
        lead = net.batch[: len(net.batch) - len(self.like.batch)]
        shape = (*lead, self.count)
        (w, a), (b, c) = net.weights, net.biases
        rows = np.zeros((*shape, self.m, self.row))
        rows[..., : self.d] = w.reshape(*shape, self.m, self.d).numpy()
        if b is not None:
            rows[..., self.inputs] = b.reshape(*shape, self.m).numpy()
        rows[..., self.inputs + 1 :] = a.reshape(*shape, self.k, self.m).mT.numpy()
        tail = np.zeros((*shape, self.k)) if c is None else c.reshape(*shape, self.k).numpy()
        if not self.shared:
            return self._to_lanes(
                np.concatenate([rows.reshape(*shape, -1), tail], axis=-1), len(lead)
            )
        padded = np.zeros((*shape, self.rows * LANES, self.row))
        padded[..., : self.m, :] = rows
        lanes = padded.reshape(*shape, self.rows, LANES, self.row).swapaxes(-1, -2)
        head = lanes.reshape(*shape, self.rows * self.row, LANES)
        return np.concatenate(
            [head, np.broadcast_to(tail[..., None], (*tail.shape, LANES))], axis=-2
        )

    def unpack(self, packed: Floats) -> MLP:
        """The inverse of `pack`."""
        lead = packed.shape[:-3]
        shape = (*lead, self.count)
        if self.shared:
            lanes = (
                packed[..., : -self.k, :]
                .reshape(*shape, self.rows, self.row, LANES)
                .swapaxes(-1, -2)
            )
            rows = lanes.reshape(*shape, self.rows * LANES, self.row)[..., : self.m, :]
            tail = packed[..., -self.k :, 0]
        else:
            flat = packed.swapaxes(-1, -2).reshape(*lead, self.units * LANES, self.vectors)[
                ..., : self.count, :
            ]
            rows, tail = (
                flat[..., : -self.k].reshape(*shape, self.m, self.row),
                flat[..., -self.k :],
            )
        b, c = self.like.biases

        def tensor(part: Floats, *dims: int) -> Tensor:
            return torch.from_numpy(part.copy()).reshape((*lead, *self.like.batch, *dims))

        out = rows[..., self.inputs + 1 :].swapaxes(-1, -2)
        return MLP(
            [tensor(rows[..., : self.d], self.m, self.d), tensor(out, self.k, self.m)],
            [
                None if b is None else tensor(rows[..., self.inputs], self.m),
                None if c is None else tensor(tail, self.k),
            ],
            self.like.activation,
        )

    def pack_numbers(self, numbers: Tensor) -> Floats:
        """One number a net, (..., *batch) -> (..., units, 8)."""
        lead = numbers.shape[: numbers.dim() - len(self.like.batch)]
        flat = numbers.reshape(*lead, self.count, 1).numpy().astype(np.float64)
        if self.shared:
            return np.repeat(flat, LANES, axis=-1)
        return self._to_lanes(flat, len(lead))[..., 0, :]

    def unpack_numbers(self, packed: Floats) -> Tensor:
        """The inverse of `pack_numbers`."""
        lead = packed.shape[:-2]
        flat = (
            packed[..., 0]
            if self.shared
            else packed.reshape(*lead, self.units * LANES)[..., : self.count]
        )
        return torch.from_numpy(flat.copy()).reshape((*lead, *self.like.batch))

    def live(self) -> Floats:
        """1 for every number of a unit that is a parameter, 0 for padding and absent biases:
        (vectors, 8)."""
        ones: Floats = self.pack(self.like.map(torch.ones_like))[0]
        return ones

    def _to_lanes(self, flat: Floats, axis: int) -> Floats:
        # The last lanes repeat the last net: work that is thrown away, and that cannot diverge on
        # its own.
        index = np.minimum(np.arange(self.units * LANES), self.count - 1)
        padded = np.take(flat, index, axis=axis)
        lanes: Floats = padded.reshape(*flat.shape[:axis], self.units, LANES, flat.shape[-1])
        return lanes.swapaxes(-1, -2)


def filled(values: Floats) -> Floats:
    """The values on a cache-line boundary."""
    out = aligned(*values.shape[:-1])
    out[...] = values
    return out


def columns(data: Tensor, count: int, tile: int) -> Floats:
    """(n, features) -> tiles of samples, in each one feature of all after the other, flat, padded
    with zeros.

    >>> columns(torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]), 2, 2).tolist()
    [1.0, 2.0, 10.0, 20.0, 3.0, 0.0, 30.0, 0.0]
    """
    tiles = -(-data.shape[0] // tile)
    out = np.zeros((tiles * tile, count))
    out[: data.shape[0], : data.shape[1]] = data.numpy()
    return out.reshape(tiles, tile, count).swapaxes(1, 2).reshape(-1)
