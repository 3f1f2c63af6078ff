"""The torch reference: the same descent for nets of any depth, any activation and any loss, one
step at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lib.nets.losses import gradient, risk
from lib.nets.mlp import MLP
from lib.nets.vectors import flatten, unflatten
from lib.train.descent.engine import Progress, Run, Smallest


class TorchEngine:
    """Full-batch descent by automatic differentiation; the parameters of a net are one vector
    throughout."""

    compiled = False

    def __init__(self, run: Run, start: Progress) -> None:
        self.run, self.like, best = run, start.net, start.best
        self.theta = flatten(start.net)
        self.moments = [flatten(m) for m in start.moments or ()]
        self.best_net = None if best.net is None else flatten(best.net)
        self.gradient, self.step, self.loss = best.gradient, best.step, best.loss
        self.done, self.died = start.steps_done, start.diverged_at
        self.losses, self.intervals = list(start.losses), list(_intervals(start.smallest))

    def tasks(self, until: int) -> list[Callable[[], None]]:
        """The work that takes the run to step `until`: one call."""
        return [lambda: self._advance(until)]

    def _due(self) -> bool:
        plan, recorded = self.run.plan, len(self.losses)
        return recorded < len(plan) and self.done == plan[recorded]

    def _advance(self, until: int) -> None:
        run = self.run
        while self.done < until or self._due():
            net = unflatten(self.theta, self.like)
            with torch.no_grad():
                loss = risk(net, run.x, run.y, run.loss)
            fallen = (self.died < 0) & ~(loss <= run.limit)
            self.died = torch.where(fallen, torch.full_like(self.died, self.done), self.died)
            alive = self.died < 0
            if self._due():
                self._record(torch.where(alive, loss, torch.full_like(loss, torch.inf)))
                if self.done >= until:
                    return
            slope = flatten(gradient(net, run.x, run.y, run.loss)).detach()
            self._keep_smaller(slope, loss, alive)
            moved = self.theta - self._move(slope)
            self.theta = torch.where(alive.unsqueeze(-1), moved, self.theta)
            self.done += 1

    def _record(self, loss: Tensor) -> None:
        if self.losses:
            self.intervals.append((self.gradient, self.step, self.loss, self.best_net))
        self.losses.append(loss)
        self.gradient = torch.full_like(loss, torch.inf)

    def _keep_smaller(self, slope: Tensor, loss: Tensor, alive: Tensor) -> None:
        norm = slope.abs().sum(-1)
        better = alive & (norm < self.gradient)  # of a net that has diverged no iterate counts
        self.gradient = torch.where(better, norm, self.gradient)
        self.step = torch.where(better, torch.full_like(self.step, self.done), self.step)
        self.loss = torch.where(better, loss, self.loss)
        if self.best_net is not None:
            self.best_net = torch.where(better.unsqueeze(-1), self.theta, self.best_net)

    def _move(self, slope: Tensor) -> Tensor:
        rule = self.run.rule
        if rule.name == "gd":
            return rule.lr * slope
        (beta1, beta2), t = rule.betas, self.done + 1
        first = beta1 * self.moments[0] + (1 - beta1) * slope
        second = beta2 * self.moments[1] + (1 - beta2) * slope * slope
        self.moments = [first, second]
        root = second.sqrt() / (1 - beta2**t) ** 0.5
        moved: Tensor = rule.lr / (1 - beta1**t) * first / (root + rule.eps)
        return moved

    def first_losses(self) -> Tensor:
        """The losses at step 0."""
        first: Tensor = self.losses[0]
        return first

    def progress(self) -> Progress:
        """What there is after the steps done so far."""
        past = self.intervals
        gradient = _stacked([interval[0] for interval in past], self.gradient)
        step = _stacked([interval[1] for interval in past], self.step)
        loss = _stacked([interval[2] for interval in past], self.loss)
        kept = None
        if self.best_net is not None:
            nets = [net for _, _, _, net in past if net is not None]
            kept = self._net(_stacked(nets, self.theta))
        first, second = (self._net(m) for m in self.moments) if self.moments else (None, None)
        best = None if self.best_net is None else self._net(self.best_net)
        return Progress(
            steps_done=self.done,
            losses=_stacked(self.losses, self.gradient),
            smallest=Smallest(gradient, step, loss, kept),
            best=Smallest(self.gradient, self.step, self.loss, best),
            net=self._net(self.theta),
            moments=None if first is None or second is None else (first, second),
            diverged_at=self.died,
        )

    def _net(self, vector: Tensor) -> MLP:
        return unflatten(vector, self.like)


Interval = tuple[Tensor, Tensor, Tensor, Tensor | None]


def _stacked(parts: list[Tensor], like: Tensor) -> Tensor:
    return torch.stack(parts) if parts else like.new_empty(0, *like.shape)


def _intervals(past: Smallest) -> list[Interval]:
    numbers = zip(past.gradient, past.step, past.loss, strict=True)
    if past.net is None:
        return [(*parts, None) for parts in numbers]
    return [(*parts, net) for parts, net in zip(numbers, flatten(past.net), strict=True)]
