"""What a descent leaves behind: the loss curve, the smallest-gradient iterate of each interval, the
nets, the state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lib.nets import MLP, flatten, unflatten
from lib.nets.activations import elu, get, leaky_relu


@dataclass(frozen=True)
class Rule:
    """The update: gradient descent, or Adam with bias correction as in `torch.optim.Adam`."""

    name: str
    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8


@dataclass(frozen=True, eq=False)
class State:
    """What the next step needs besides the nets, so that a resumed run repeats an uninterrupted one
    bit for bit.

    Args:
        limit: loss beyond which a net counts as diverged, (*batch,).
        moments: Adam's first and second moment, or None under gradient descent.
        gradient, step, loss: smallest gradient L1 norm since the last record, its step and loss,
            (*batch,).
        net: the iterate there, or None when those are not kept.
    """

    limit: Tensor
    moments: tuple[MLP, MLP] | None
    gradient: Tensor
    step: Tensor
    loss: Tensor
    net: MLP | None


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The result of `descend`: R recorded steps, and between each two of them the iterate of
    smallest gradient.

    Args:
        steps: recorded steps (R,), int64, increasing from 0.
        losses: loss before the update of those steps, (R, *batch); inf where the net has diverged.
        smallest_gradient, smallest_step, smallest_loss: (R - 1, *batch); entry i is the iterate
            whose gradient has the smallest L1 norm among the steps steps[i] <= t < steps[i + 1]:
            that norm, t, and the loss there.
        smallest: those iterates, an `MLP` of batch (R - 1, *batch), or None when they were not
            kept.
        net: the nets after `steps_done` updates.
        steps_done: number of updates made.
        interrupted: stopped by Ctrl-C before the last step; `descend(..., resume=)` goes on from
            here.
        diverged_at: step at which a net's loss exceeded its limit and the net was frozen, -1 for
            none, (*batch,).
        rule: optimizer and its settings.  state: what `resume` needs.
    """

    steps: Tensor
    losses: Tensor
    smallest_gradient: Tensor
    smallest_step: Tensor
    smallest_loss: Tensor
    smallest: MLP | None
    net: MLP
    steps_done: int
    interrupted: bool
    diverged_at: Tensor
    rule: Rule
    state: State

    def __repr__(self) -> str:
        end = ", interrupted" if self.interrupted else ""
        return (
            f"Trajectory({self.net!r}, {self.rule.name}, {self.steps_done} steps, {len(self.steps)}"
            f" records{end})"
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as named NumPy arrays, for `np.savez`; `from_arrays` is the inverse.

        >>> from lib.train.descent import descend
        >>> from lib.nets import init
        >>> x = torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None]
        >>> run = descend(init((1, 2, 1), generator=0), x, x, steps=10, lr=0.1)
        >>> torch.equal(Trajectory.from_arrays(run.arrays()).losses, run.losses)
        True
        """
        sigma, state = self.net.activation, self.state
        out: dict[str, np.ndarray] = {
            "widths": np.array(self.net.widths),
            "has_bias": np.array([b is not None for b in self.net.biases]),
            "activation": np.array(sigma.name),
            "activation_parameter": np.array(
                math.nan if sigma.parameter is None else sigma.parameter
            ),
            "steps_done": np.array(self.steps_done),
            "interrupted": np.array(self.interrupted),
            "rule": np.array(self.rule.name),
            "rule_settings": np.array([self.rule.lr, *self.rule.betas, self.rule.eps]),
        }
        for name in _TENSORS:
            out[name] = getattr(self, name).cpu().numpy()
        for name in ("limit", "gradient", "step", "loss"):
            out[f"state_{name}"] = getattr(state, name).cpu().numpy()
        moments = state.moments or (None, None)
        nets = {"net": self.net, "smallest": self.smallest, "state_net": state.net}
        nets |= {"state_moment1": moments[0], "state_moment2": moments[1]}
        return out | {
            name: flatten(net).cpu().numpy() for name, net in nets.items() if net is not None
        }

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray]) -> Trajectory:
        """The trajectory of which `arrays()` made these arrays (a dict, or what `np.load` returns).

        Raises:
            ValueError: an array is missing.
        """
        missing = {"widths", "net", "rule", "steps_done", *_TENSORS} - set(arrays)
        if missing:
            raise ValueError(
                f"arrays lack {', '.join(sorted(missing))}: expected what Trajectory.arrays()"
                " returned"
            )
        widths, has = arrays["widths"].tolist(), arrays["has_bias"].tolist()
        parameter = float(arrays["activation_parameter"])
        makers = {"leaky_relu": leaky_relu, "elu": elu}
        name = str(arrays["activation"])
        sigma = makers[name](parameter) if name in makers else get(name)
        empty = torch.empty(0, dtype=torch.float64)
        like = MLP(
            [empty.new_zeros(b, a) for a, b in zip(widths, widths[1:], strict=False)],
            [empty.new_zeros(m) if h else None for m, h in zip(widths[1:], has, strict=True)],
            sigma,
        )

        def tensor(key: str) -> Tensor:
            return torch.from_numpy(np.array(arrays[key]))

        def net(key: str) -> MLP:
            return unflatten(tensor(key), like)

        def kept(key: str) -> MLP | None:
            return net(key) if key in arrays else None

        lr, beta1, beta2, eps = arrays["rule_settings"].tolist()
        moments = (
            (net("state_moment1"), net("state_moment2")) if "state_moment1" in arrays else None
        )
        return Trajectory(
            **{key: tensor(key) for key in _TENSORS},
            smallest=kept("smallest"),
            net=net("net"),
            steps_done=int(arrays["steps_done"]),
            interrupted=bool(arrays["interrupted"]),
            rule=Rule(str(arrays["rule"]), lr, (beta1, beta2), eps),
            state=State(
                limit=tensor("state_limit"),
                moments=moments,
                gradient=tensor("state_gradient"),
                step=tensor("state_step"),
                loss=tensor("state_loss"),
                net=kept("state_net"),
            ),
        )


_TENSORS = ("steps", "losses", "smallest_gradient", "smallest_step", "smallest_loss", "diverged_at")


class Diverged(ArithmeticError):
    """Some nets' loss became non-finite or exceeded 1e12 times its scale.

    Args:
        trajectory: the finished run, with those nets frozen where they diverged and their later
            losses inf.
    """

    def __init__(self, trajectory: Trajectory) -> None:
        self.trajectory = trajectory
        at = trajectory.diverged_at
        where = (at >= 0).nonzero().tolist()
        names = [
            (
                f"net {tuple(i) if len(i) > 1 else i[0]} at step {at[tuple(i)]}"
                if i
                else f"at step {at}"
            )
            for i in where
        ]
        shown = ", ".join(names[:5]) + (f", and {len(names) - 5} more" if len(names) > 5 else "")
        super().__init__(
            f"{len(where)} of {at.numel()} nets diverged: {shown}; take a smaller lr than"
            f" {trajectory.rule.lr:g}, "
            f'or on_divergence="mask" to keep the others (this error\'s .trajectory holds them)'
        )


def record_steps(steps: int, records: int | Sequence[int] = 200) -> np.ndarray:
    """The steps to record: 0, `steps`, and log-spaced ones between, or 0, the given ones and
    `steps`.

    Args:
        steps: last step.  records: how many to take at most (close to 0 fewer fit), >= 2, or the
            steps themselves.

    Raises:
        ValueError: a count below 2, or a step outside 0..steps.

    >>> record_steps(1000, 5)
    array([   0,    1,   10,  100, 1000])
    """
    if isinstance(records, (int, np.integer)):
        if records < 2:
            raise ValueError(
                f"records is {records}: expected at least 2 (the first and the last step), or the"
                " steps themselves"
            )
        inner = np.rint(np.geomspace(1, max(steps, 1), records - 1))[: records - 2].astype(np.int64)
    else:
        inner = np.asarray(records)
        if (
            inner.ndim != 1
            or not np.issubdtype(inner.dtype, np.integer)
            or ((inner < 0) | (inner > steps)).any()
        ):
            raise ValueError(
                f"records are {records!r}: expected a number, or integer steps within 0..{steps}"
            )
    return np.unique(np.concatenate([[0], inner[inner <= steps], [steps]])).astype(np.int64)
