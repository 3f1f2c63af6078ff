"""The torch reference: the same descent for nets of any depth, any activation and any loss, one
step at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lib.nets import MLP, Loss, flatten, gradient, risk, unflatten
from lib.train.descent.trajectory import Rule, State, Trajectory


class TorchEngine:
    """Full-batch descent by automatic differentiation; the parameters of a net are one vector
    throughout.

    `tasks(until)` returns the work that takes the run to that step, `trajectory` what there is so
    far."""

    def __init__(
        self, net: MLP, x: Tensor, y: Tensor, rule: Rule, plan: np.ndarray, past: Trajectory | None, state: State,
        *, loss: Loss, keep_smallest: bool, threads: int,
    ) -> None:  # fmt: skip
        self.x, self.y, self.rule, self.plan, self.loss, self.keep = (
            x,
            y,
            rule,
            plan,
            loss,
            keep_smallest,
        )
        self.like, self.state = net, state
        self.theta = flatten(net)
        self.moments = [flatten(m) for m in state.moments] if state.moments else []
        self.best = flatten(state.net) if keep_smallest else None
        self.gradient, self.step, self.best_loss = state.gradient, state.step, state.loss
        self.done = past.steps_done if past else 0
        self.died = past.diverged_at if past else torch.full(net.batch, -1, device=net.device)
        self.losses = list(past.losses) if past else []
        self.intervals = [] if past is None else list(_intervals(past))

    def tasks(self, until: int) -> list[Callable[[], None]]:
        return [lambda: self._advance(until)]

    def _advance(self, until: int) -> None:
        while self.done < until or (
            len(self.losses) < len(self.plan) and self.done == self.plan[len(self.losses)]
        ):
            net = unflatten(self.theta, self.like)
            with torch.no_grad():
                loss = risk(net, self.x, self.y, self.loss)
            fallen = (self.died < 0) & ~(loss <= self.state.limit)
            self.died = torch.where(fallen, torch.full_like(self.died, self.done), self.died)
            alive = self.died < 0
            if len(self.losses) < len(self.plan) and self.done == self.plan[len(self.losses)]:
                if self.losses:
                    self.intervals.append((self.gradient, self.step, self.best_loss, self.best))
                self.losses.append(torch.where(alive, loss, torch.full_like(loss, torch.inf)))
                self.gradient = torch.full_like(loss, torch.inf)
                if self.done >= until:
                    return
            slope = flatten(gradient(net, self.x, self.y, self.loss)).detach()
            norm = slope.abs().sum(-1)
            better = alive & (norm < self.gradient)  # of a net that has diverged no iterate counts
            self.gradient = torch.where(better, norm, self.gradient)
            self.step = torch.where(better, torch.full_like(self.step, self.done), self.step)
            self.best_loss = torch.where(better, loss, self.best_loss)
            if self.keep:
                self.best = torch.where(better.unsqueeze(-1), self.theta, self.best)
            self.theta = torch.where(
                alive.unsqueeze(-1), self.theta - self._move(slope), self.theta
            )
            self.done += 1

    def _move(self, slope: Tensor) -> Tensor:
        rule = self.rule
        if rule.name == "gd":
            return rule.lr * slope
        (beta1, beta2), t = rule.betas, self.done + 1
        first = beta1 * self.moments[0] + (1 - beta1) * slope
        second = beta2 * self.moments[1] + (1 - beta2) * slope * slope
        self.moments = [first, second]
        return rule.lr / (1 - beta1**t) * first / (second.sqrt() / (1 - beta2**t) ** 0.5 + rule.eps)

    def trajectory(self, interrupted: bool) -> Trajectory:
        def stacked(i: int) -> Tensor:
            parts = [entry[i] for entry in self.intervals]
            like = (self.gradient, self.step, self.best_loss, self.theta)[i]
            return torch.stack(parts) if parts else like.new_empty(0, *like.shape)

        def net(vector: Tensor | None) -> MLP | None:
            return None if vector is None else unflatten(vector, self.like)

        moments = tuple(net(m) for m in self.moments) or None
        return Trajectory(
            steps=torch.from_numpy(self.plan[: len(self.losses)].copy()),
            losses=torch.stack(self.losses),
            smallest_gradient=stacked(0),
            smallest_step=stacked(1),
            smallest_loss=stacked(2),
            smallest=net(stacked(3)) if self.keep else None,
            net=net(self.theta),
            steps_done=self.done,
            interrupted=interrupted,
            diverged_at=self.died,
            rule=self.rule,
            state=State(
                self.state.limit, moments, self.gradient, self.step, self.best_loss, net(self.best)
            ),
        )


def _intervals(past: Trajectory):
    nets = (
        flatten(past.smallest)
        if past.smallest is not None
        else [None] * len(past.smallest_gradient)
    )
    return zip(past.smallest_gradient, past.smallest_step, past.smallest_loss, nets, strict=True)
