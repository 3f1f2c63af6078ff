"""The engine that runs the GPU kernel: two-layer nets under the mean squared error, float64 or
float32, with Triton."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lib._simd.pointwise import KINDS
from lib.nets import MLP, Loss, mse
from lib.train.descent.deep import unknown_activation
from lib.train.descent.engine import Books, Progress, Run

# padded parameters of a net: beyond, they leave the registers, and torch is the faster one
MAX_PADDED = 16384
_PER_THREAD = 48  # numbers of a gradient that one thread holds


@dataclass(frozen=True)
class Tile:
    """How a program is laid out: M, D, K padded sizes, T nets, B samples at a time, warps of 32
    threads."""

    M: int
    D: int
    K: int
    T: int
    B: int
    warps: int


def tile(m: int, d: int, k: int, n: int) -> Tile:
    """The layout for d-m-k nets on n samples.

    Up to 8 nets by 4 samples share a warp, so that sums over neurons need no exchange between
    threads; larger nets take more threads each.

    >>> tile(3, 1, 1, 50)
    Tile(M=4, D=1, K=1, T=8, B=4, warps=1)
    >>> tile(500, 1, 1, 50)
    Tile(M=512, D=1, K=1, T=1, B=4, warps=4)
    """
    padded_m, padded_d, padded_k = (1 << (size - 1).bit_length() for size in (m, d, k))
    size, samples, nets, warps = (
        padded_m * (padded_d + 1 + padded_k),
        min(4, 1 << (n - 1).bit_length()),
        8,
        1,
    )
    while nets > 1 and size * nets * samples > 32 * _PER_THREAD:
        nets //= 2
    while warps < 8 and size * nets * samples > 32 * warps * _PER_THREAD:
        warps *= 2
    return Tile(padded_m, padded_d, padded_k, nets, samples, warps)


def obstacles(net: MLP, loss: Loss) -> list[str]:
    """What keeps the GPU kernel from taking this problem; empty when it can.

    >>> from lib.nets import init
    >>> obstacles(init((1, 3, 3, 1), generator=0), mse)[0]
    'nets of depth 2 (this is 3)'
    """
    found = []
    if net.depth != 2:
        found.append(f"nets of depth 2 (this is {net.depth})")
    if loss is not mse:
        found.append("the loss lib.nets.losses.mse")
    if net.depth == 2:
        t = tile(net.widths[1], net.widths[0], net.widths[2], 4)
        if (size := t.M * (t.D + 1 + t.K)) > MAX_PADDED:
            found.append(
                f"nets of up to {MAX_PADDED} parameters, sizes rounded up to powers of two (this"
                f" has {size})"
            )
    found += unknown_activation(net)
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if net.device.type != "cuda" and not interpreted:
        found.append(f"tensors on a CUDA device (these are on {net.device})")
    if importlib.util.find_spec("triton") is None:
        found.append(
            "machines with Triton (`import triton` fails here; it comes with torch on Linux)"
        )
    return found


class TritonEngine:
    """The GPU kernel, behind the methods of an `Engine`."""

    compiled = False

    def __init__(self, run: Run, start: Progress) -> None:
        self.books, self.run = Books(run, start, columns=True), run
        self.done, self.following = start.steps_done, len(start.losses)
        net, rule = start.net, run.rule
        self.x, self.y = run.x.T.contiguous(), run.y.T.contiguous()
        parameter, (beta1, beta2) = float(net.activation.parameter or 0.0), rule.betas
        settings = [rule.lr, beta1, 1 - beta1, beta2, 1 - beta2, rule.eps, parameter]
        self.settings = torch.tensor(settings, dtype=net.dtype, device=net.device)
        self.due = torch.tensor([*run.plan.tolist(), -1], device=net.device)

    def tasks(self, until: int) -> list[Callable[[], None]]:
        """The work that takes the run to step `until`: one launch."""
        return [lambda: self._advance(until)]

    def _advance(self, until: int) -> None:
        from lib.train.descent import gpu_kernel

        plan, books, net = self.run.plan, self.books, self.books.like
        following = int(np.searchsorted(plan, until, side="right"))
        end = until + (following > self.following and plan[following - 1] == until)
        if end <= self.done:
            return
        (d, m, k), n = net.widths, len(self.run.x)
        t = tile(m, d, k, n)
        hidden, output = (b is not None for b in net.biases)
        gpu_kernel.run[(-(-books.count // t.T),)](
            books.theta, books.best_net, *books.moments, books.limit.reshape(-1), books.died,
            *books.best, books.losses, books.smallest_net, *books.smallest, self.due,
            self._schedule(until), self.settings, self.x, self.y,
            books.count, n, m, d, k, self.done, until, end, self.following,
            KIND=KINDS[net.activation.name], ADAM=self.run.rule.name == "adam", KEEP=books.keep,
            M=t.M, D=t.D, K=t.K, T=t.T, B=t.B, B1=hidden, B2=output, num_warps=t.warps,
        )  # fmt: skip
        if books.theta.is_cuda:
            torch.cuda.synchronize(books.theta.device)
        self.done, self.following = until, following

    def _schedule(self, until: int) -> Tensor:
        """lr / (1 - beta1^t) and 1 / sqrt(1 - beta2^t) of the next steps, t counted from 1: (steps,
        2)."""
        rule = self.run.rule
        if rule.name == "gd":
            return self.settings
        t = np.arange(self.done + 1, until + 1)
        beta1, beta2 = rule.betas
        table = np.stack([rule.lr / (1 - beta1**t), 1 / np.sqrt(1 - beta2**t)], axis=1)
        return torch.from_numpy(table).to(self.settings)

    def first_losses(self) -> Tensor:
        """The losses at step 0."""
        return self.books.first_losses()

    def progress(self) -> Progress:
        """What there is after the steps done so far."""
        return self.books.progress(self.done, self.following)
