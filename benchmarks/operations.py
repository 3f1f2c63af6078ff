"""Counting the multiply-adds of a computation: what its matrix products, convolutions and
factorisations need at least.

    >>> a = torch.ones(3, 4)
    >>> multiply_adds(lambda: a @ a.T), multiply_adds(lambda: a.double() @ a.double().T)
    (36.0, 72.0)

A product in float64 counts twice, as it takes two of float32 at the same width of registers.
Elementwise work is not counted."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten


def multiply_adds(job: Callable[[], object]) -> float:
    """Multiply-adds in float32 of one call of `job`, in this thread."""
    with _Counter() as counter:
        job()
    return counter.total


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        name = function.overloadpacket
        if name in (aten.convolution, aten.mkldnn_convolution):
            self.total += _convolution(*args)
        elif name in (aten.linalg_cholesky_ex, aten.linalg_cholesky):
            self.total += args[0].numel() * args[0].shape[-1] / 6 * _words(args[0])
        elif name is aten.cholesky_solve:  # two triangular systems
            self.total += args[0].numel() * args[1].shape[-1] * _words(args[0])
        elif name in flop_registry:
            first = out[0] if isinstance(out, tuple) else out
            self.total += (
                flop_registry[name](*args, **(kwargs or {}), out_val=out) / 2 * _words(first)
            )
        return out


def _words(x: torch.Tensor) -> float:
    return x.element_size() / 4


def _convolution(x, weight, bias, stride, padding, dilation, *_) -> float:
    """Without the products by the zeros of the padding."""
    per_channels = 1.0
    for size, kernel, s, p, d in zip(
        x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True
    ):
        starts = range(-p, size + p - d * (kernel - 1), s)
        per_channels *= sum(
            0 <= start + d * tap < size for start in starts for tap in range(kernel)
        )
    return len(x) * weight.shape[0] * weight.shape[1] * per_channels * _words(x)
