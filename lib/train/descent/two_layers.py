"""The engine that runs the CPU kernel for two-layer nets under the mean squared error."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from torch import Tensor

from lib._simd.lanes import Floats, aligned
from lib._simd.pointwise import KINDS, constants
from lib.nets.mlp import MLP
from lib.train.descent.arguments import Books, Clock, Sample, Share, Sigma, Update
from lib.train.descent.engine import Progress, Run, Smallest
from lib.train.descent.layout import Layout, columns, filled
from lib.train.descent.numba_kernel import (
    ALIVE,
    DIED,
    GRADIENT,
    LIMIT,
    PER_UNIT,
    kernel,
    tile,
    workspace,
)


class NumbaEngine:
    """The CPU kernel for two-layer nets, behind the methods of an `Engine`."""

    compiled = True

    def __init__(self, run: Run, start: Progress) -> None:
        self.layout = layout = Layout(start.net)
        self.keep, self.adam, self.limit = run.keep, start.moments is not None, run.limit
        units, intervals, n = layout.units, len(run.plan) - 1, len(run.x)
        done, seen = np.full(units, start.steps_done), np.full(units, len(start.losses))
        self.clock = Clock(done, seen, run.plan)
        self.state = self._packed(run, start)
        self.losses, self.smallest_at = aligned(units, intervals + 1), aligned(units, intervals, 3)
        self.smallest = aligned(units, intervals, layout.vectors if run.keep else 0)
        if len(start.losses):
            self._restore(start)
        sigma, size = start.net.activation, tile(n, layout.rows)
        kind, parameter = KINDS[sigma.name], sigma.parameter or 0.0
        sample = Sample(
            columns(run.x, layout.inputs, size),
            columns(run.y, layout.k, size),
            (n, layout.inputs, layout.k, layout.rows, size),
            float(run.x.abs().max()),
            layout.shared,
        )
        rule, live = run.rule, filled(layout.live() * (2 / (n * layout.k))).reshape(-1)
        update = Update(self.adam, rule.lr, *rule.betas, rule.eps)
        flat = (a.reshape(-1) for a in (self.state, self.losses, self.smallest, self.smallest_at))
        self.run = kernel(kind, layout.scalar)
        curve = Sigma(float(parameter), constants(kind))
        self.given = self.clock, sample, curve, update, live, Books(run.keep, *flat)
        bounds = np.linspace(0, units, min(run.threads, units) + 1).astype(int).tolist()
        self.shares = list(zip(bounds, bounds[1:], strict=False))
        scratch = workspace(n, layout.rows, layout.inputs, layout.k)
        self.scratch = [aligned(scratch).reshape(-1) for _ in self.shares]

    def _packed(self, run: Run, start: Progress) -> Floats:
        """The parts of a unit's state, side by side: parameters, snapshot, moments, numbers."""
        layout = self.layout
        nets = [start.net, start.best.net, *(start.moments or ())]
        own = np.zeros((layout.units, PER_UNIT, 8))
        own[:, DIED] = layout.pack_numbers(start.diverged_at)
        own[:, ALIVE] = own[:, DIED] < 0
        best = start.best
        for i, numbers in enumerate((best.gradient, best.step, best.loss)):
            own[:, GRADIENT + i] = layout.pack_numbers(numbers)
        parts = [layout.pack(net) for net in nets if net is not None]
        return filled(np.concatenate([*parts, own], axis=1))

    def _restore(self, start: Progress) -> None:
        layout, r, past = self.layout, len(start.losses), start.smallest
        self.losses[:, :r] = layout.pack_numbers(start.losses).swapaxes(0, 1)
        for i, numbers in enumerate((past.gradient, past.step, past.loss)):
            self.smallest_at[:, : r - 1, i] = layout.pack_numbers(numbers).swapaxes(0, 1)
        if past.net is not None:
            self.smallest[:, : r - 1] = layout.pack(past.net).swapaxes(0, 1)

    def tasks(self, until: int) -> list[Callable[[], None]]:
        """The work that takes the run to step `until`, one call per thread."""
        self.state[:, LIMIT - PER_UNIT] = self.layout.pack_numbers(self.limit)
        return [
            partial(self.run, Share(first, last, until), *self.given, w)
            for (first, last), w in zip(self.shares, self.scratch, strict=True)
        ]

    def first_losses(self) -> Tensor:
        """The losses at step 0."""
        return self.layout.unpack_numbers(self.losses[:, 0])

    def progress(self) -> Progress:
        """What there is after the steps done so far."""
        layout, r = self.layout, int(self.clock.record[0])
        closed, own = max(r - 1, 0), self.state[:, -PER_UNIT:]
        starts = range(0, self.state.shape[1] - PER_UNIT, layout.vectors)
        nets = [layout.unpack(self.state[:, at : at + layout.vectors]) for at in starts]
        past: MLP | None = None
        if self.keep:
            past = layout.unpack(self.smallest[:, :closed].swapaxes(0, 1))
        return Progress(
            steps_done=int(self.clock.step[0]),
            losses=layout.unpack_numbers(self.losses[:, :r].swapaxes(0, 1)),
            smallest=_smallest(layout, self.smallest_at[:, :closed].swapaxes(0, 1), past),
            best=_smallest(layout, own[:, GRADIENT:], nets[1] if self.keep else None),
            net=nets[0],
            moments=(nets[-2], nets[-1]) if self.adam else None,
            diverged_at=layout.unpack_numbers(own[:, DIED]).long(),
        )


def _smallest(layout: Layout, numbers: Floats, net: MLP | None) -> Smallest:
    gradient, step, loss = (layout.unpack_numbers(numbers[..., i, :]) for i in range(3))
    return Smallest(gradient, step.long(), loss, net)
