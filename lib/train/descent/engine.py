"""What every engine of `descend` is given and gives back: a run, and its progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lib._simd.lanes import Ints
from lib.nets.losses import Loss
from lib.nets.mlp import MLP
from lib.nets.vectors import flatten, unflatten
from lib.train.descent.trajectory import Rule, State, Trajectory

# times (loss at the start + mean of y^2): far above any transient of a run that recovers
DIVERGED = 1e12


@dataclass(frozen=True, eq=False)
class Run:
    """What is to be done, whatever the engine.

    Args:
        x, y, loss: the problem.  rule: the update.
        plan: the steps to record, (R,), rising.
        limit: loss beyond which a net counts as diverged, (*batch,); known after step 0.
        keep: keep the smallest-gradient iterates.  threads: how many the CPU kernels use.
    """

    x: Tensor
    y: Tensor
    loss: Loss
    rule: Rule
    plan: Ints
    limit: Tensor
    keep: bool
    threads: int


@dataclass(frozen=True, eq=False)
class Smallest:
    """Iterates of smallest gradient: its L1 norm, the step and the loss there, (..., *batch), and
    the nets, or None where those are not kept."""

    gradient: Tensor
    step: Tensor
    loss: Tensor
    net: MLP | None


@dataclass(frozen=True, eq=False)
class Progress:
    """Where a run is: what an engine starts from, and what there is when it stops.

    Args:
        steps_done: number of updates made.
        losses: of the steps recorded so far, (r, *batch).
        smallest: of the intervals closed so far, (r - 1, *batch).  best: of the open one, (*batch).
        net: the nets.  moments: Adam's.  diverged_at: as in `Trajectory`.
    """

    steps_done: int
    losses: Tensor
    smallest: Smallest
    best: Smallest
    net: MLP
    moments: tuple[MLP, MLP] | None
    diverged_at: Tensor


class Engine(Protocol):
    """One way to run a descent. `lib.train.descent.reference.TorchEngine` is the reference.

    compiled: a task is one call of compiled code, which Ctrl-C cannot cut.
    """

    compiled: bool

    def tasks(self, until: int) -> list[Callable[[], None]]:
        """The work that takes the run to step `until`, one call per thread."""

    def first_losses(self) -> Tensor:
        """The losses at step 0, once it was recorded, (*batch,)."""

    def progress(self) -> Progress:
        """What there is after the steps done so far."""


def beginning(run: Run, net: MLP) -> Progress:
    """The progress of a run that has not begun."""
    start = run.limit
    zeros = net.map(torch.zeros_like)
    empty = start.new_empty(0, *start.shape)
    none = net.map(lambda p: p.new_empty(0, *p.shape)) if run.keep else None
    step = torch.zeros_like(start, dtype=torch.int64)
    return Progress(
        steps_done=0,
        losses=empty,
        smallest=Smallest(empty, empty.long(), empty, none),
        best=Smallest(start + torch.inf, step, torch.zeros_like(start), net if run.keep else None),
        net=net,
        moments=(zeros, zeros) if run.rule.name == "adam" else None,
        diverged_at=torch.full_like(step, -1),
    )


def no_limit(net: MLP) -> Tensor:
    """A limit that every finite loss obeys, (*batch,)."""
    return net.weights[0].new_full(net.batch, torch.finfo(net.dtype).max)


def loss_limit(start: Tensor, y: Tensor) -> Tensor:
    """The loss beyond which a net counts as diverged, (*batch,), from its loss at the start; 0
    where that is not finite."""
    scale = (y**2).mean() if y.is_floating_point() else 1.0
    limit = (DIVERGED * (start + scale)).clamp(max=torch.finfo(start.dtype).max)
    return torch.where(torch.isfinite(start), limit, torch.zeros_like(limit))


def resumed(past: Trajectory) -> Progress:
    """The progress that a trajectory holds."""
    state = past.state
    return Progress(
        steps_done=past.steps_done,
        losses=past.losses,
        smallest=Smallest(
            past.smallest_gradient, past.smallest_step, past.smallest_loss, past.smallest
        ),
        best=Smallest(state.gradient, state.step, state.loss, state.net),
        net=past.net,
        moments=state.moments,
        diverged_at=past.diverged_at,
    )


def trajectory(run: Run, done: Progress, interrupted: bool) -> Trajectory:
    """The trajectory of a run: the inverse of `resumed`."""
    best = done.best
    return Trajectory(
        steps=torch.from_numpy(run.plan[: len(done.losses)].copy()),
        losses=done.losses,
        smallest_gradient=done.smallest.gradient,
        smallest_step=done.smallest.step,
        smallest_loss=done.smallest.loss,
        smallest=done.smallest.net,
        net=done.net,
        steps_done=done.steps_done,
        interrupted=interrupted,
        diverged_at=done.diverged_at,
        rule=run.rule,
        state=State(run.limit, done.moments, best.gradient, best.step, best.loss, best.net),
    )


class Books:
    """State and records of a run as plain tensors, for kernels that take nets as vectors.

    With P parameters, nets are (nets, P), or (P, nets) if `columns`; numbers are (nets,), and both
    have the R records, or R - 1 intervals, in front. The kernel writes into them.
    """

    def __init__(self, run: Run, start: Progress, *, columns: bool) -> None:
        self.like, self.keep, self.columns, self.limit = start.net, run.keep, columns, run.limit
        new, intervals = start.losses.new_zeros, len(run.plan) - 1
        self.count, self.size = start.net.batch.numel(), start.net.n_parameters
        self.theta = self._vectors(start.net)
        self.best_net = self._vectors(start.best.net)
        self.moments = [self._vectors(m) for m in start.moments or (None, None)]
        self.died = start.diverged_at.reshape(-1).clone()
        best, past = start.best, start.smallest
        self.best = [t.reshape(-1).clone() for t in (best.gradient, best.step, best.loss)]
        self.losses = new(intervals + 1, self.count)
        self.losses[: len(start.losses)] = start.losses.reshape(-1, self.count)
        self.smallest = [
            new(intervals, self.count, dtype=t.dtype) for t in (best.gradient, best.step, best.loss)
        ]
        done = (past.gradient, past.step, past.loss)
        for into, numbers in zip(self.smallest, done, strict=True):
            into[: len(numbers)] = numbers.reshape(-1, self.count)
        self.smallest_net = new(intervals, *(self.best_net.shape if run.keep else (0, 0)))
        if past.net is not None:
            self.smallest_net[: len(past.gradient)] = self._vectors(past.net)

    def first_losses(self) -> Tensor:
        """The losses of the first record, (*batch,)."""
        return self._numbers(self.losses[0])

    def progress(self, steps_done: int, records: int) -> Progress:
        """What stands in the books after so many steps and records."""
        closed = max(records - 1, 0)
        past, best = ([self._numbers(t) for t in ts] for ts in (self.smallest, self.best))
        kept = self._nets(self.smallest_net[:closed]) if self.keep else None
        here = self._nets(self.best_net) if self.keep else None
        first, second = (self._nets(m) if m.numel() else None for m in self.moments)
        return Progress(
            steps_done=steps_done,
            losses=self._numbers(self.losses[:records]),
            smallest=Smallest(past[0][:closed], past[1][:closed], past[2][:closed], kept),
            best=Smallest(best[0], best[1], best[2], here),
            net=self._nets(self.theta),
            moments=None if first is None or second is None else (first, second),
            diverged_at=self._numbers(self.died),
        )

    def _vectors(self, net: MLP | None) -> Tensor:
        if net is None:
            return self.like.weights[0].new_zeros(0, 0)
        lead = net.batch[: len(net.batch) - len(self.like.batch)]
        rows = flatten(net).reshape(*lead, self.count, self.size)
        return (rows.mT if self.columns else rows).clone(memory_format=torch.contiguous_format)

    def _nets(self, vectors: Tensor) -> MLP:
        rows = vectors.mT if self.columns else vectors
        shape = (*vectors.shape[:-2], *self.like.batch, self.size)
        return unflatten(rows.reshape(shape).clone(), self.like)

    def _numbers(self, numbers: Tensor) -> Tensor:
        return numbers.reshape((*numbers.shape[:-1], *self.like.batch)).clone()
