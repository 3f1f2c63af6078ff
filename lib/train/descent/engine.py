"""The engine that runs the CPU kernel for two-layer nets under the mean squared error."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lib._simd.lanes import aligned
from lib._simd.pointwise import KINDS, constants
from lib.nets import MLP
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
from lib.train.descent.trajectory import Rule, State, Trajectory


class NumbaEngine:
    """The CPU kernel behind the two methods of `lib.train.descent.reference.TorchEngine`, its
    reference."""

    def __init__(
        self, net: MLP, x: Tensor, y: Tensor, rule: Rule, plan: np.ndarray, past: Trajectory | None, state: State,
        *, keep_smallest: bool, threads: int,
    ) -> None:  # fmt: skip
        self.layout = layout = Layout(net)
        self.rule, self.plan, self.keep, self.limit = rule, plan, keep_smallest, state.limit
        units, vectors, rows, n = layout.units, layout.vectors, layout.rows, x.shape[0]
        done, recorded = (past.steps_done, len(past.steps)) if past else (0, 0)
        self.clock, self.following = np.full(units, done), np.full(units, recorded)
        # The parts of a unit's state, side by side in one array: parameters, their snapshot,
        # moments, six numbers.
        parts = [layout.pack(net)]
        if keep_smallest:
            parts.append(layout.pack(state.net))
        if rule.name == "adam":
            parts += [layout.pack(m) for m in state.moments]
        own = np.zeros((units, PER_UNIT, 8))
        own[:, DIED] = layout.pack_numbers(past.diverged_at) if past else -1
        own[:, ALIVE] = own[:, DIED] < 0
        own[:, LIMIT] = layout.pack_numbers(state.limit)
        for i, numbers in enumerate((state.gradient, state.step, state.loss)):
            own[:, GRADIENT + i] = layout.pack_numbers(numbers)
        self.state = filled(np.concatenate([*parts, own], axis=1))
        self.losses, self.smallest_at = aligned(units, len(plan)), aligned(units, len(plan) - 1, 3)
        self.smallest = aligned(units, len(plan) - 1, vectors if keep_smallest else 0)
        if past:
            self._restore(past)
        sigma = net.activation
        kind, size = KINDS[sigma.name], tile(n, rows)
        self.run = kernel(kind, layout.scalar)
        self.problem = (
            columns(x, layout.inputs, size), columns(y, layout.k, size), (n, layout.inputs, layout.k, rows, size),
            float(x.abs().max()), layout.shared, 0.0 if sigma.parameter is None else float(sigma.parameter),
            constants(kind), rule.name == "adam", (rule.lr, *rule.betas, rule.eps), keep_smallest,
            filled(layout.live() * (2 / (n * layout.k))).reshape(-1),
        )  # fmt: skip
        bounds = np.linspace(0, units, min(threads, units) + 1).astype(int)
        scratch = workspace(n, rows, layout.inputs, layout.k)
        self.shares = [
            (int(a), int(b), aligned(scratch)) for a, b in zip(bounds, bounds[1:], strict=False)
        ]

    def _restore(self, past: Trajectory) -> None:
        layout, r = self.layout, len(past.steps)
        self.losses[:, :r] = layout.pack_numbers(past.losses).swapaxes(0, 1)
        numbers = (past.smallest_gradient, past.smallest_step, past.smallest_loss)
        for i, part in enumerate(numbers):
            self.smallest_at[:, : r - 1, i] = layout.pack_numbers(part).swapaxes(0, 1)
        if self.keep:
            self.smallest[:, : r - 1] = layout.pack(past.smallest).swapaxes(0, 1)

    def tasks(self, until: int) -> list[Callable[[], None]]:
        """The work that takes the run to step `until`, one call a thread."""
        return [lambda share=share: self._advance(until, *share) for share in self.shares]

    def _advance(self, until: int, first: int, last: int, work: np.ndarray) -> None:
        self.run(
            first, last, until, self.clock, self.following, self.plan, *self.problem, self.state.reshape(-1),
            self.losses.reshape(-1), self.smallest.reshape(-1), self.smallest_at.reshape(-1), work.reshape(-1),
        )  # fmt: skip

    def trajectory(self, interrupted: bool) -> Trajectory:
        """What there is after the steps done so far."""
        layout, r = self.layout, int(self.following[0])
        vectors = layout.vectors
        own = self.state[:, -PER_UNIT:]
        numbers = [
            layout.unpack_numbers(self.smallest_at[:, : r - 1, i].swapaxes(0, 1)) for i in range(3)
        ]
        at = [layout.unpack_numbers(own[:, GRADIENT + i]) for i in range(3)]
        starts = range(0, self.state.shape[1] - PER_UNIT, vectors)
        nets = [layout.unpack(self.state[:, start : start + vectors]) for start in starts]
        moments = (nets[-2], nets[-1]) if self.rule.name == "adam" else None
        return Trajectory(
            steps=torch.from_numpy(self.plan[:r].copy()),
            losses=layout.unpack_numbers(self.losses[:, :r].swapaxes(0, 1)),
            smallest_gradient=numbers[0],
            smallest_step=numbers[1].long(),
            smallest_loss=numbers[2],
            smallest=layout.unpack(self.smallest[:, : r - 1].swapaxes(0, 1)) if self.keep else None,
            net=nets[0],
            steps_done=int(self.clock[0]),
            interrupted=interrupted,
            diverged_at=layout.unpack_numbers(own[:, DIED]).long(),
            rule=self.rule,
            state=State(
                self.limit, moments, at[0], at[1].long(), at[2], nets[1] if self.keep else None
            ),
        )
