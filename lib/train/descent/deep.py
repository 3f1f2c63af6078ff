"""The engine that runs the deep kernel: nets of any depth, mean squared error or cross entropy, on
the CPU."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lib._simd.lanes import LANES, aligned
from lib._simd.pointwise import KINDS
from lib.nets import MLP, Loss, cross_entropy, flatten, mse, unflatten
from lib.train.descent.deep_kernel import run, scratch
from lib.train.descent.trajectory import Rule, State, Trajectory


def obstacles(net: MLP, loss: Loss) -> list[str]:
    """What keeps the deep kernel from taking this problem; empty when it can.

    >>> from lib.nets import init
    >>> obstacles(init((2, 3, 3, 1), "elu", generator=0), mse)
    []
    """
    found = []
    if loss not in (mse, cross_entropy):
        found.append("the losses lib.nets.losses.mse and lib.nets.losses.cross_entropy")
    if net.device.type != "cpu":
        found.append(f"tensors on the CPU (these are on {net.device})")
    sigma = net.activation
    if sigma.name not in KINDS or (sigma.parameter is not None and not sigma.parameter > 0):
        found.append(
            f"the activations {', '.join(KINDS)} with a positive parameter (this is {sigma!r})"
        )
    return found


class DeepEngine:
    """The deep kernel behind the two methods of `lib.train.descent.reference.TorchEngine`, its
    reference.

    >>> from lib.train.descent.front import descend
    >>> from lib.nets import init
    >>> x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    >>> run = descend(init((1, 3, 3, 1), batch=(2,), generator=0), x, x**2, steps=100, lr=0.1)
    >>> bool((run.losses[-1] < run.losses[0]).all())
    True
    """

    def __init__(
        self, net: MLP, x: Tensor, y: Tensor, rule: Rule, plan: np.ndarray, past: Trajectory | None, state: State,
        *, loss: Loss, keep_smallest: bool, threads: int,
    ) -> None:  # fmt: skip
        count, size, records = net.batch.numel(), net.n_parameters, len(plan)
        self.like, self.rule, self.plan, self.keep, self.state = (
            net,
            rule,
            plan,
            keep_smallest,
            state,
        )
        done, recorded = (past.steps_done, len(past.steps)) if past else (0, 0)
        self.clock, self.following = np.full(count, done), np.full(count, recorded)
        self.theta = self._rows(net)
        self.moments = (
            [self._rows(m) for m in state.moments] if state.moments else [np.zeros((0, 0))] * 2
        )
        self.died = self._numbers(past.diverged_at) if past else np.full(count, -1)
        self.limit = self._numbers(state.limit)
        self.best = self._rows(state.net) if keep_smallest else np.zeros((count, 0))
        self.best_at = [self._numbers(t) for t in (state.gradient, state.step, state.loss)]
        self.losses = np.zeros((records, count))
        self.smallest = np.zeros((records - 1, count, size if keep_smallest else 0))
        self.smallest_at = [
            np.zeros((records - 1, count), d) for d in (np.float64, np.int64, np.float64)
        ]
        if past:
            self.losses[:recorded] = past.losses.reshape(recorded, count).numpy()
            parts = (past.smallest_gradient, past.smallest_step, past.smallest_loss)
            for into, part in zip(self.smallest_at, parts, strict=True):
                into[: recorded - 1] = part.reshape(recorded - 1, count).numpy()
            if keep_smallest:
                self.smallest[: recorded - 1] = (
                    flatten(past.smallest).reshape(recorded - 1, count, size).numpy()
                )
        targets = (
            y if loss is mse else torch.nn.functional.one_hot(y, net.widths[-1]).to(torch.float64)
        )
        self.n = x.shape[0]
        self.x, self.y, self.live = (_in_lanes(t) for t in (x, targets, x.new_ones(self.n, 1)))
        self.widths = np.array(net.widths)
        self.has_bias = np.array([b is not None for b in net.biases])
        sigma = net.activation
        self.parameter = 0.0 if sigma.parameter is None else float(sigma.parameter)
        self.kind, self.entropy = KINDS[sigma.name], loss is cross_entropy
        bounds = np.linspace(0, count, min(threads, count) + 1).astype(int)
        room = scratch(net.widths, len(self.live) // LANES)
        self.shares = [
            (int(a), int(b), np.zeros(size), aligned(room).reshape(-1))
            for a, b in zip(bounds, bounds[1:], strict=False)
        ]

    def tasks(self, until: int) -> list[Callable[[], None]]:
        return [lambda share=share: self._advance(until, *share) for share in self.shares]

    def _advance(self, until: int, first: int, last: int, g: np.ndarray, work: np.ndarray) -> None:
        rule = self.rule
        run(
            first, last, until, self.kind, self.entropy, self.x, self.y, self.live, self.n, self.widths, self.has_bias, self.parameter,
            rule.name == "adam", rule.lr, *rule.betas, rule.eps, self.plan, self.keep, self.clock, self.following,
            self.theta.reshape(-1), *(m.reshape(-1) for m in self.moments), self.died, self.limit,
            self.best, *self.best_at, self.losses, self.smallest, *self.smallest_at, g, work,
        )  # fmt: skip

    def trajectory(self, interrupted: bool) -> Trajectory:
        like, recorded = self.like, int(self.following[0])
        numbers = [self._tensor(part[: recorded - 1]) for part in self.smallest_at]
        at = [self._tensor(part) for part in self.best_at]
        return Trajectory(
            steps=torch.from_numpy(self.plan[:recorded].copy()),
            losses=self._tensor(self.losses[:recorded]),
            smallest_gradient=numbers[0],
            smallest_step=numbers[1],
            smallest_loss=numbers[2],
            smallest=self._net(self.smallest[: recorded - 1]) if self.keep else None,
            net=self._net(self.theta),
            steps_done=int(self.clock[0]),
            interrupted=interrupted,
            diverged_at=self._tensor(self.died),
            rule=self.rule,
            state=State(
                self.state.limit,
                tuple(self._net(m) for m in self.moments) if self.rule.name == "adam" else None,
                *at,
                self._net(self.best) if self.keep else None,
            ),
        )

    def _rows(self, net: MLP) -> np.ndarray:
        return flatten(net).reshape(-1, net.n_parameters).numpy().copy()

    def _numbers(self, numbers: Tensor) -> np.ndarray:
        return numbers.reshape(-1).numpy().copy()

    def _tensor(self, numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(numbers.copy()).reshape((*numbers.shape[:-1], *self.like.batch))

    def _net(self, rows: np.ndarray) -> MLP:
        return unflatten(
            torch.from_numpy(rows.copy()).reshape(*rows.shape[:-2], *self.like.batch, -1), self.like
        )


def _in_lanes(samples: Tensor) -> np.ndarray:
    """(n, m) -> m rows of ceil(n / 8) Lanes, flat, the last one padded with 0."""
    n, m = samples.shape
    vectors = -(-n // LANES)
    out = aligned(m, vectors)
    out.reshape(m, vectors * LANES)[:, :n] = samples.T.numpy()
    return out.reshape(-1)
