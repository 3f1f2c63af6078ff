"""What `descend` refuses before it begins."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lib.nets.checks import finite_number
from lib.nets.dense import check_parameters
from lib.nets.losses import Loss, cross_entropy, mse
from lib.nets.mlp import MLP
from lib.nets.samples import check_classes, check_finite
from lib.train.descent.trajectory import Rule, Trajectory

MAX_BYTES = 4 * 2**30  # of state and records


def check_settings(steps: int, on_divergence: str, threads: int | None) -> None:
    """Raises ValueError unless steps >= 0, on_divergence is known, and threads >= 1 or None."""
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 0:
        raise ValueError(f"steps is {steps!r}: expected a whole number >= 0")
    if on_divergence not in ("raise", "mask"):
        raise ValueError(f'on_divergence is {on_divergence!r}: expected "raise" or "mask"')
    if threads is not None and (not isinstance(threads, (int, np.integer)) or threads < 1):
        raise ValueError(f"threads is {threads!r}: expected a whole number >= 1, or None")


def checked_rule(optimizer: str, lr: float, betas: tuple[float, float], eps: float) -> Rule:
    """The rule of descent; raises ValueError unless lr, betas and eps are in range."""
    if optimizer not in ("gd", "adam"):
        raise ValueError(f'optimizer is {optimizer!r}: expected "gd" or "adam"')
    if finite_number("lr", lr) <= 0:
        raise ValueError(f"lr is {lr!r}: expected a finite number > 0")
    if len(betas) != 2 or not all(0 <= finite_number("beta", b) < 1 for b in betas):
        raise ValueError(f"betas are {betas!r}: expected two numbers in [0, 1)")
    if finite_number("eps", eps) <= 0:
        raise ValueError(f"eps is {eps!r}: expected a finite number > 0")
    return Rule(optimizer, float(lr), (float(betas[0]), float(betas[1])), float(eps))


def check_memory(net: MLP, records: int, keep_smallest: bool) -> None:
    """Refuse a run whose state and records would not fit into `MAX_BYTES`: they are what grows with
    the nets."""
    nets, size = net.batch.numel(), net.n_parameters
    each = net.weights[0].element_size()
    kept = (records + 1) * nets * size if keep_smallest else 0
    # The nets, their copy and Adam's moments; of every record the loss, and norm, step and loss of
    # an iterate.
    total = each * (kept + 4 * nets * size + 4 * records * nets)
    if total > MAX_BYTES:
        advice = (
            "take fewer records, or keep_smallest=False"
            if 2 * kept * each > total
            else "pass fewer nets at a time"
        )
        raise ValueError(
            f"training {nets:,} nets of {size} parameters with {records} records needs"
            f" {total / 2**30:.1f} GiB: {advice} (at most {MAX_BYTES / 2**30:.1f} GiB)"
        )


def check_problem(net: MLP, x: Tensor, y: Tensor, loss: Loss, single: bool) -> None:
    """Raises TypeError or ValueError unless x and y are a sample for the finite nets; float32 only
    where `single`."""
    if not isinstance(net, MLP):
        raise TypeError(
            f"net is {type(net).__name__}: expected an MLP (lib.nets.sequential converts an"
            " nn.Sequential)"
        )
    _check_data("x", x, net, single, floating=True, matrix=True)
    _check_data("y", y, net, single, floating=loss is mse, matrix=loss is mse)
    if net.dtype != torch.float64 and not (single and net.dtype == torch.float32):
        raise TypeError(
            f"the net is {net.dtype}: expected torch.float64; convert it with net.to(torch.float64)"
            ' (torch.float32 needs backend="triton" or "torch")'
        )
    if x.shape[0] < 1:
        raise ValueError("the sample is empty: expected at least one row in x")
    if x.shape[1] != net.widths[0]:
        raise ValueError(f"x has shape {tuple(x.shape)}: expected (n, {net.widths[0]}) for {net!r}")
    if y.shape[0] != x.shape[0] or (loss is mse and y.shape[1] != net.widths[-1]):
        raise ValueError(
            f"y has shape {tuple(y.shape)}: expected ({x.shape[0]}, {net.widths[-1]}) for {net!r}"
        )
    if loss is cross_entropy:
        check_classes(y, net.widths[-1])
    if net.batch.numel() == 0:
        raise ValueError(f"the batch {tuple(net.batch)} holds no net: expected at least one")
    check_parameters(net)


def _check_data(
    name: str, data: Tensor, net: MLP, single: bool, *, floating: bool, matrix: bool
) -> None:
    if not isinstance(data, Tensor):
        raise TypeError(f"{name} is {type(data).__name__}: expected a tensor")
    wanted = torch.float32 if single and net.dtype == torch.float32 else torch.float64
    if floating and data.dtype != wanted:
        raise TypeError(f"{name} is {data.dtype}: expected {wanted}; convert it with .to({wanted})")
    if matrix and data.dim() != 2:
        width = net.widths[0 if name == "x" else -1]
        raise ValueError(f"{name} has shape {tuple(data.shape)}: expected (n, {width})")
    if data.device != net.device:
        raise ValueError(
            f"{name} is on {data.device}, the net on {net.device}: expected one device"
        )
    check_finite(name, data)


def check_resume(past: Trajectory, net: MLP, rule: Rule, steps: int, keep_smallest: bool) -> None:
    """Raises ValueError unless the trajectory is of these nets, this optimizer, and no further."""
    mine, its = repr(net), repr(past.net)
    if mine != its:
        raise ValueError(f"resume holds {its}: expected {mine}, the nets it was started from")
    if past.rule.name != rule.name:
        raise ValueError(
            f"resume was made by {past.rule.name}, this is {rule.name}: expected one optimizer"
        )
    if steps < past.steps_done:
        raise ValueError(
            f"resume has made {past.steps_done} steps: expected steps >= that, got {steps}"
        )
    if keep_smallest != (past.smallest is not None):
        raise ValueError(
            f"keep_smallest is {keep_smallest}: expected what the run to resume was started with"
        )
