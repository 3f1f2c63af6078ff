"""Full-batch training of one net for the pruning chapter: Adam, optionally under a mask that keeps
pruned weights at zero.

`lib.train.descent` trains many small nets in float64 and remembers every interval; this trains one
larger net in any precision, and remembers the nets at the records it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils import _pytree

from lib.nets import MLP, Loss, mse, risk
from lib.nets.checks import check_single
from lib.train.descent.trajectory import record_steps


def softmax_mse(output: Tensor, y: Tensor) -> Tensor:
    """MSE between the softmax of the outputs and one-hot targets, one number a net.

    mean_{i,k} (softmax(f(x_i))_k - y_ik)^2. Its gradient vanishes where the softmax is saturated,
    on a wrong class too: each such sample adds up to 2 / (n m_L) to the loss and holds it up.

    Args:
        output: logits (*batch, n, m_L);  y: one-hot (n, m_L).
    Source: the public code of the group of (Zhang et al. 2021); the paper says "MSE".

    >>> softmax_mse(torch.tensor([[100.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
    tensor(1.)
    """
    return mse(output.softmax(-1), y)


@dataclass(frozen=True, eq=False)
class Training:
    """A training run of one net.

    Args:
        net: after the last step.
        steps, losses, gradients: records (R,), the risk and the L1 norm of its gradient there,
            float64.
        kept: the nets at the records, or () when none were kept.
        work: multiply-adds of all steps, 3 n (number of weights that are not masked) a step.
    """

    net: MLP
    steps: Tensor
    losses: Tensor
    gradients: Tensor
    kept: tuple[MLP, ...]
    work: float


@dataclass(frozen=True)
class Adam:
    """How a net is trained: `steps` >= 0 updates of Adam at rate `lr` > 0 on the full batch."""

    steps: int
    lr: float
    loss: Loss = mse
    eps: float = 1e-8

    def __post_init__(self) -> None:
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 0:
            raise ValueError(f"steps is {self.steps!r}: expected a whole number >= 0")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"lr is {self.lr!r}: expected a finite number > 0")


def train(
    net: MLP,
    x: Tensor,
    y: Tensor,
    rule: Adam,
    *,
    records: int | Sequence[int] = 200,
    keep: bool = False,
    mask: MLP | None = None,
) -> Training:
    """Adam on the full batch, as `torch.optim.Adam`, from any precision the net is in.

    Args:
        net: one net;  x, y: the sample, in the net's dtype (y class indices where the loss takes
            them).
        rule: loss, number of updates and rate.
        records: how many log-spaced records, or the steps themselves; step 0 and the last are
            always there.
        keep: keep the net at every record.
        mask: zeros and ones in the shape of the net; where it is 0, parameters are set to 0 and
            stay there.
    Raises:
        ValueError: a batch of nets, a mask of another shape, or a loss that is not finite.

    >>> from lib.nets import init
    >>> x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    >>> run = train(init((1, 8, 1), generator=0), x, x**2, Adam(200, 0.01))
    >>> bool(run.losses[-1] < 0.1 * run.losses[0])
    True
    """
    check_single(net)
    masks = _masks(net, mask)
    net = net.map(lambda p: p.detach().clone())
    with torch.no_grad():
        for p, m in zip(net.parameters(), masks, strict=True):
            if m is not None:
                p.mul_(m)
    net = net.map(lambda p: p.requires_grad_())
    parameters = list(net.parameters())
    optimizer = torch.optim.Adam(parameters, lr=rule.lr, eps=rule.eps)
    plan = set(record_steps(rule.steps, records).tolist())
    rows, kept = [], []
    for step in range(rule.steps + 1):
        value = risk(net, x, y, rule.loss)
        gradients = torch.autograd.grad(value, parameters)
        gradients = [g if m is None else g * m for g, m in zip(gradients, masks, strict=True)]
        if step in plan:
            rows.append((step, *_measured(value, gradients, rule)))
            if keep:
                kept.append(net.map(lambda p: p.detach().clone()))
        if step < rule.steps:
            for p, g in zip(parameters, gradients, strict=True):
                p.grad = g
            optimizer.step()
    steps, losses, norms = torch.tensor(rows, dtype=torch.float64).unbind(1)
    work = 3.0 * len(x) * rule.steps * n_weights(net, mask)
    return Training(net.map(torch.Tensor.detach), steps.long(), losses, norms, tuple(kept), work)


def _measured(value: Tensor, gradients: Sequence[Tensor], rule: Adam) -> tuple[float, float]:
    loss = float(value.detach())
    if not math.isfinite(loss):
        raise ValueError(f"the loss is {loss}: expected a smaller learning rate than {rule.lr}")
    return loss, math.fsum(float(g.abs().sum(dtype=torch.float64)) for g in gradients)


def n_weights(net: MLP, mask: MLP | None = None) -> int:
    """Entries of the weight matrices, without biases and without those a mask switches off.

    >>> from lib.nets import init
    >>> n_weights(init((2, 3, 1), generator=0))
    9
    """
    return sum(
        int(w.numel() if mask is None else (m != 0).sum())
        for w, m in zip(net.weights, (mask or net).weights, strict=True)
    )


def _masks(net: MLP, mask: MLP | None) -> list[Tensor | None]:
    if mask is None:
        return [None for _ in net.parameters()]
    if _pytree.tree_structure(mask) != _pytree.tree_structure(net) or mask.widths != net.widths:
        raise ValueError(f"mask is {mask!r}: expected zeros and ones in the shape of {net!r}")
    return [m if bool((m == 0).any()) else None for m in mask.parameters()]
