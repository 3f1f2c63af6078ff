"""The engine that runs the deep kernel: nets of any depth, mean squared error or cross entropy, on
the CPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lib._simd.lanes import LANES, Floats, aligned
from lib._simd.pointwise import KINDS
from lib.nets.losses import Loss, cross_entropy, mse
from lib.nets.mlp import MLP
from lib.train.descent.arguments import Clock, Iterates, Nets, Rows, Shape, Share, Update
from lib.train.descent.deep_kernel import run as kernel
from lib.train.descent.deep_kernel import scratch
from lib.train.descent.engine import Books, Progress, Run


def obstacles(net: MLP, loss: Loss) -> list[str]:
    """What keeps the CPU kernels from taking this problem; empty when they can.

    >>> from lib.nets.drawing import init
    >>> obstacles(init((2, 3, 3, 1), "elu", generator=0), mse)
    []
    """
    found = []
    if loss not in (mse, cross_entropy):
        found.append("the losses lib.nets.losses.mse and lib.nets.losses.cross_entropy")
    if net.device.type != "cpu":
        found.append(f"tensors on the CPU (these are on {net.device})")
    return found + unknown_activation(net)


def unknown_activation(net: MLP) -> list[str]:
    """What keeps any kernel from taking the net's activation."""
    sigma = net.activation
    if sigma.name in KINDS and (sigma.parameter is None or sigma.parameter > 0):
        return []
    return [f"the activations {', '.join(KINDS)} with a positive parameter (this is {sigma!r})"]


class DeepEngine:
    """The deep kernel, behind the methods of an `Engine`.

    >>> from lib.train.descent.front import descend
    >>> from lib.nets.drawing import init
    >>> x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    >>> run = descend(init((1, 3, 3, 1), batch=(2,), generator=0), x, x**2, steps=100, lr=0.1)
    >>> bool((run.losses[-1] < run.losses[0]).all())
    True
    """

    compiled = True

    def __init__(self, run: Run, start: Progress) -> None:
        net, rule, n = start.net, run.rule, len(run.x)
        self.books = books = Books(run, start, columns=False)
        count = books.count
        self.clock = Clock(
            np.full(count, start.steps_done), np.full(count, len(start.losses)), run.plan
        )
        targets, entropy = run.y, run.loss is cross_entropy
        if entropy:
            targets = torch.nn.functional.one_hot(run.y, net.widths[-1]).to(torch.float64)
        ones = run.x.new_ones(n, 1)
        sample = Rows(_in_lanes(run.x), _in_lanes(targets), _in_lanes(ones))
        vectors, kind = -(-n // LANES), KINDS[net.activation.name]
        biases = np.array([b is not None for b in net.biases])
        alpha = float(net.activation.parameter or 0.0)
        shape = Shape(kind, alpha, entropy, n, vectors, np.array(net.widths), biases)
        update = Update(rule.name == "adam", rule.lr, *rule.betas, rule.eps)
        theta, first, second, died = (
            t.numpy().reshape(-1) for t in (books.theta, *books.moments, books.died)
        )
        nets = Nets(theta, first, second, died, run.limit.reshape(-1).numpy())
        best, smallest = (
            Iterates(*(t.numpy() for t in parts))
            for parts in ((*books.best, books.best_net), (*books.smallest, books.smallest_net))
        )
        found = best, smallest, books.losses.numpy()
        self.given = self.clock, shape, sample, update, nets, found
        bounds = np.linspace(0, count, min(run.threads, count) + 1).astype(int).tolist()
        self.shares = list(zip(bounds, bounds[1:], strict=False))
        room = scratch(net.widths, vectors)
        self.work = [(np.zeros(books.size), aligned(room).reshape(-1)) for _ in self.shares]

    def tasks(self, until: int) -> list[Callable[[], None]]:
        """The work that takes the run to step `until`, one call per thread."""
        return [
            partial(kernel, Share(first, last, until), *self.given, work)
            for (first, last), work in zip(self.shares, self.work, strict=True)
        ]

    def first_losses(self) -> Tensor:
        """The losses at step 0."""
        return self.books.first_losses()

    def progress(self) -> Progress:
        """What there is after the steps done so far."""
        return self.books.progress(int(self.clock.step[0]), int(self.clock.record[0]))


def _in_lanes(samples: Tensor) -> Floats:
    """(n, m) -> m rows of ceil(n / 8) Lanes, flat, the last one padded with 0."""
    n, m = samples.shape
    vectors = -(-n // LANES)
    out = aligned(m, vectors)
    out.reshape(m, vectors * LANES)[:, :n] = samples.T.numpy()
    return out.reshape(-1)
