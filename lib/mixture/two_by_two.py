"""Runs of 3 x 3 convolutions on 2 x 2 maps, by nine products instead of sixteen.

Padded by one, a row of two pixels gives y_0 = w_1 x_0 + w_2 x_1 and y_1 = w_0 x_0 + w_1 x_1, a
Toeplitz product, which

    y_0 = w_1 (x_0 + x_1) + (w_2 - w_1) x_1,    y_1 = w_1 (x_0 + x_1) + (w_0 - w_1) x_0

does by three multiplications; nested in both directions nine are left (Winograd 1980, Arithmetic
Complexity of Computations). For many channels the multiplications are nine matrix products. All
maps here are linear, so on a line in weight space the nine transformed kernels lie on a line as
well. One compiled call takes some images through all layers of a run, so what lies between its
products stays in the cache and Python's lock is free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit
from torch import Tensor, nn

CHANNELS = 16  # with fewer the sums cost what the products save
IMAGES = 64  # at a time: nine times 64 channels of these in float32 are 144 KiB
_KERNEL = torch.tensor(
    [[0.0, 1.0, 0.0], [0.0, -1.0, 1.0], [1.0, -1.0, 0.0]]
)  # w -> w_1, w_2 - w_1, w_0 - w_1


def pays(joint: nn.Module, rows: int, columns: int) -> bool:
    """Whether the joint is such a convolution, of channels enough to gain by it.

    >>> pays(nn.Conv2d(64, 32, 3, padding=1), 2, 2), pays(nn.Conv2d(64, 32, 3), 2, 2)
    (True, False)
    """
    if (
        type(joint) is not nn.Conv2d
        or joint.padding_mode != "zeros"
        or joint.padding not in ((1, 1), "same")
    ):
        return False
    if min(joint.in_channels, joint.out_channels) < CHANNELS or joint.weight.dtype != torch.float32:
        return False
    unit = joint.stride == joint.dilation == (1, 1) and joint.groups == 1
    return unit and joint.kernel_size == (3, 3) and (rows, columns) == (2, 2)


@dataclass(frozen=True, eq=False)
class Run:
    """Convolutions one after the other, a ReLU between any two, at both ends of a line in weight
    space.

    Args:
        channels: of the input and of every output, int64 (layers + 1,).
        ends: the nine matrices (9, inputs, outputs) of every layer, then all biases, flattened to
            one row an end (2, P).
    """

    channels: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, first: Sequence[nn.Conv2d], second: Sequence[nn.Conv2d]) -> Run:
        """The run of two chains of convolutions for which `pays` holds."""
        channels = [first[0].in_channels, *(joint.out_channels for joint in first)]
        ends = torch.stack(
            [
                torch.cat([*map(_matrices, joints), *map(_bias, joints)])
                for joints in (first, second)
            ]
        )
        return cls(np.array(channels), ends.numpy())

    def __call__(self, f: Tensor, gamma: float) -> Tensor:
        """The output of the last convolution of the net gamma * first + (1 - gamma) * second.

        Args:
            f: float32 (n, channels, 2, 2).
        Returns:
            (n, channels of the last, 2, 2), with the channels last in memory.

        >>> joint, f = nn.Conv2d(16, 20, 3, padding=1), torch.randn(4, 16, 2, 2)
        >>> bool(torch.allclose(Run.of([joint], [joint])(f, 0.5), joint(f), atol=1e-5))
        True
        """
        pixels = f.permute(0, 2, 3, 1).reshape(len(f), 4, -1).contiguous()
        out = pixels.new_empty(len(f), 4, int(self.channels[-1]))
        _run(pixels.numpy(), self.channels, self.ends, np.float32(gamma), out.numpy())
        return out.unflatten(1, (2, 2)).permute(0, 3, 1, 2)


def _matrices(joint: nn.Conv2d) -> Tensor:
    kernel = _KERNEL.to(joint.weight)
    return torch.einsum("pa,qb,oiab->pqio", kernel, kernel, joint.weight.detach()).flatten()


def _bias(joint: nn.Conv2d) -> Tensor:
    return joint.weight.new_zeros(joint.out_channels) if joint.bias is None else joint.bias.detach()


@njit(cache=True, nogil=True)
def _run(f, channels, ends, gamma, y):
    layers, widest = len(channels) - 1, channels.max()
    weights = np.empty(ends.shape[1], np.float32)
    for i in range(len(weights)):
        weights[i] = ends[1, i] + gamma * (ends[0, i] - ends[1, i])
    sums, products = (
        np.empty(9 * IMAGES * widest, np.float32),
        np.empty(9 * IMAGES * widest, np.float32),
    )
    between = np.empty(IMAGES * 4 * widest, np.float32)
    for start in range(0, len(f), IMAGES):
        n = min(IMAGES, len(f) - start)
        x, used, bias = f[start : start + n], 0, 9 * (channels[:-1] * channels[1:]).sum()
        for layer in range(layers):
            c, d = channels[layer], channels[layer + 1]
            t, m = sums[: 9 * n * c].reshape(9, n, c), products[: 9 * n * d].reshape(9, n, d)
            w = weights[used : used + 9 * c * d].reshape(9, c, d)
            _spread(x, t)
            for k in range(9):
                np.dot(t[k], w[k], m[k])
            last = layer == layers - 1
            x = y[start : start + n] if last else between[: n * 4 * d].reshape(n, 4, d)
            _gather(m, weights[bias : bias + d], -np.float32(np.inf) if last else np.float32(0), x)
            used, bias = used + 9 * c * d, bias + d


@njit(cache=True, nogil=True)
def _spread(x, t):
    """x -> x_0 + x_1, x_1, x_0 in both directions."""
    for i in range(x.shape[0]):
        for c in range(x.shape[2]):
            x00, x01, x10, x11 = x[i, 0, c], x[i, 1, c], x[i, 2, c], x[i, 3, c]
            left, right = x00 + x10, x01 + x11
            t[0, i, c], t[1, i, c], t[2, i, c] = left + right, right, left
            t[3, i, c], t[4, i, c], t[5, i, c] = x10 + x11, x11, x10
            t[6, i, c], t[7, i, c], t[8, i, c] = x00 + x01, x01, x00


@njit(cache=True, nogil=True)
def _gather(m, bias, floor, y):
    """m -> max(floor, m_0 + m_1), max(floor, m_0 + m_2) in both directions."""
    for i in range(y.shape[0]):
        # A loop for every pixel: with four results in one, LLVM no longer shows that they overlap
        # no argument.
        for p, (a, b, c) in enumerate(((1, 3, 4), (2, 3, 5), (1, 6, 7), (2, 6, 8))):
            for j in range(y.shape[2]):
                y[i, p, j] = max(
                    floor, (m[0, i, j] + m[a, i, j]) + (m[b, i, j] + m[c, i, j]) + bias[j]
                )
