"""`descend`: the one front of every backend; checks, plans the records, and drives an engine in
short chunks."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lib.nets import MLP, Loss, mse, risk
from lib.train.descent.deep import DeepEngine, obstacles
from lib.train.descent.engine import NumbaEngine
from lib.train.descent.gpu import TritonEngine
from lib.train.descent.gpu import obstacles as gpu_obstacles
from lib.train.descent.reference import TorchEngine
from lib.train.descent.trajectory import Diverged, Rule, State, Trajectory, record_steps

DIVERGED = (
    1e12  # times (loss at the start + mean of y^2): far above any transient of a run that recovers
)
MAX_BYTES = 4 * 2**30  # of state and records
CHUNK_SECONDS = 0.1  # how often the bar moves and Ctrl-C is heard


def descend(
    net: MLP,
    x: Tensor,
    y: Tensor,
    *,
    steps: int,
    lr: float,
    optimizer: str = "gd",
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    records: int | Sequence[int] = 200,
    keep_smallest: bool = True,
    backend: str = "auto",
    loss: Loss = mse,
    resume: Trajectory | None = None,
    on_divergence: str = "raise",
    progress: bool = False,
    threads: int | None = None,
) -> Trajectory:
    """Full-batch gradient descent or Adam on every net of a batch, independently.

    theta_{t+1} = theta_t - lr grad R_S(theta_t), or Adam with bias correction, for t < steps.

    Args:
        net: the nets at step 0, float64 (or float32 with backend "triton" or "torch"); any batch
            dimensions.
        x, y: the sample, (n, m_0) and (n, m_L), of the net's dtype (y int64 class indices when
            `loss` is the cross entropy).
        steps: number of updates in all, counted from step 0 also when resuming.
        lr: learning rate.  optimizer: "gd" or "adam".  betas, eps: Adam's constants.
        records: how many log-spaced steps to record (always 0 and the last), or the steps
            themselves.
        keep_smallest: keep the smallest-gradient iterate of every interval between records, not
            only its norm.
        backend: "numba" (any depth, MSE or cross entropy, CPU), "triton" (two layers, MSE, GPU),
            "torch" (any loss and device), or "auto", the first that can.
        resume: a trajectory to go on from, of the same problem; `net` is then only checked for its
            shape. With the same arguments as the run it continues, the result is that of one
            uninterrupted run, bit for bit.
        on_divergence: "raise" a `Diverged` error, or "mask": freeze those nets, and say so in
            `diverged_at`.
        progress: show a bar.  threads: how many the numba backend uses; by default
            `torch.get_num_threads()`.

    Returns:
        The trajectory. After Ctrl-C: what there is so far, with `interrupted` set, to be given to
        `resume`.

    Raises:
        TypeError, ValueError: bad input, or a backend that cannot take this net.
        Diverged: a loss became non-finite or exceeded 1e12 times its scale.

    >>> from lib.nets import init
    >>> x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    >>> run = descend(init((1, 2, 1), batch=(3,), generator=0), x, x**2, steps=500, lr=0.1, records=4)
    >>> run.steps, tuple(run.losses.shape), bool((run.losses[-1] < run.losses[0]).all())
    (tensor([  0,   1,  22, 500]), (4, 3), True)
    >>> tuple(run.smallest.batch), tuple(run.smallest_gradient.shape)
    ((3, 3), (3, 3))
    """
    rule = _checked_rule(optimizer, lr, betas, eps)
    _check_problem(net, x, y, loss, single=backend in ("triton", "torch"))
    net, x, y = net.map(torch.detach), x.detach(), y.detach()
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 0:
        raise ValueError(f"steps is {steps!r}: expected a whole number >= 0")
    if on_divergence not in ("raise", "mask"):
        raise ValueError(f'on_divergence is {on_divergence!r}: expected "raise" or "mask"')
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise ValueError(f"threads is {threads!r}: expected a whole number >= 1, or None")
    kind = _choose(backend, net, loss)
    plan = record_steps(int(steps), records)
    if resume is not None:
        _check_resume(resume, net, rule, int(steps), keep_smallest)
        net = resume.net
        plan = np.concatenate([resume.steps.numpy(), plan[plan > resume.steps_done]])
    _check_memory(net, len(plan), keep_smallest)
    net = net.map(torch.Tensor.detach)
    state = (
        resume.state if resume is not None else _initial_state(net, x, y, loss, rule, keep_smallest)
    )
    threads = threads or torch.get_num_threads()
    extra = {} if kind is NumbaEngine else {"loss": loss}
    engine = kind(
        net, x, y, rule, plan, resume, state, keep_smallest=keep_smallest, threads=threads, **extra
    )
    done = resume.steps_done if resume is not None else 0
    interrupted = _drive(engine, done, int(steps), threads, progress)
    trajectory = engine.trajectory(interrupted)
    if on_divergence == "raise" and (trajectory.diverged_at >= 0).any():
        raise Diverged(trajectory)
    return trajectory


def _drive(engine, done: int, steps: int, threads: int, progress: bool) -> bool:
    # Short chunks, so that the bar moves and Ctrl-C is heard; they do not change the result.
    chunk = 1
    with (
        ThreadPoolExecutor(threads) as pool,
        tqdm(total=steps, initial=done, disable=not progress, unit="step") as bar,
    ):
        while True:
            until, start = min(done + chunk, steps), time.perf_counter()
            interrupted = _advance(engine, until, pool)
            bar.update(until - done)
            done = until
            if done >= steps or interrupted:
                return done < steps
            if time.perf_counter() - start < CHUNK_SECONDS / 2:
                chunk *= 2


def _advance(engine, until: int, pool: ThreadPoolExecutor) -> bool:
    # The work runs in threads (the kernel releases the GIL), so that Ctrl-C reaches this one and
    # halves no step.
    try:
        futures = [pool.submit(task) for task in engine.tasks(until)]
        wait(futures)
    except KeyboardInterrupt:
        pool.shutdown()
        for task in engine.tasks(until):  # what has not reached `until`, if any
            task()
        return True
    for future in futures:
        future.result()
    return False


def _initial_state(
    net: MLP, x: Tensor, y: Tensor, loss: Loss, rule: Rule, keep_smallest: bool
) -> State:
    with torch.no_grad():
        start = risk(net, x, y, loss)
    scale = (y**2).mean() if y.is_floating_point() else 1.0
    limit = (DIVERGED * (start + scale)).clamp(max=torch.finfo(start.dtype).max)
    limit = torch.where(torch.isfinite(start), limit, torch.zeros_like(limit))
    zeros = net.map(torch.zeros_like)
    return State(
        limit=limit,
        moments=(zeros, zeros) if rule.name == "adam" else None,
        gradient=torch.full_like(start, torch.inf),
        step=torch.zeros_like(start, dtype=torch.int64),
        loss=torch.zeros_like(start),
        net=net if keep_smallest else None,
    )


def _choose(backend: str, net: MLP, loss: Loss):
    if backend not in ("auto", "numba", "triton", "torch"):
        raise ValueError(f'backend is {backend!r}: expected "auto", "numba", "triton" or "torch"')
    if backend == "torch":
        return TorchEngine
    if backend == "triton" or (backend == "auto" and net.device.type == "cuda"):
        found = gpu_obstacles(net, loss)
        if backend == "triton" and found:
            raise ValueError(
                f'the triton backend takes only {" and ".join(found)}: use backend="auto"'
            )
        return TorchEngine if found else TritonEngine
    found = obstacles(net, loss)
    if backend == "numba" and found:
        raise ValueError(f'the numba backend takes only {" and ".join(found)}: use backend="torch"')
    if found:
        return TorchEngine
    return NumbaEngine if net.depth == 2 and loss is mse else DeepEngine


def _checked_rule(optimizer: str, lr: float, betas: tuple[float, float], eps: float) -> Rule:
    if optimizer not in ("gd", "adam"):
        raise ValueError(f'optimizer is {optimizer!r}: expected "gd" or "adam"')
    if not isinstance(lr, (int, float)) or not (math.isfinite(lr) and lr > 0):
        raise ValueError(f"lr is {lr!r}: expected a finite number > 0")
    if len(betas) != 2 or not all(0 <= b < 1 for b in betas):
        raise ValueError(f"betas are {betas!r}: expected two numbers in [0, 1)")
    if not (math.isfinite(eps) and eps > 0):
        raise ValueError(f"eps is {eps!r}: expected a finite number > 0")
    return Rule(optimizer, float(lr), (float(betas[0]), float(betas[1])), float(eps))


def _check_memory(net: MLP, records: int, keep_smallest: bool) -> None:
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


def _check_problem(net: MLP, x: Tensor, y: Tensor, loss: Loss, single: bool) -> None:
    if not isinstance(net, MLP):
        raise TypeError(
            f"net is {type(net).__name__}: expected an MLP (lib.nets.sequential converts an"
            " nn.Sequential)"
        )
    for name, data, dims in (("x", x, 2), ("y", y, 2 if loss is mse else None)):
        if not isinstance(data, Tensor):
            raise TypeError(f"{name} is {type(data).__name__}: expected a tensor")
        wanted = torch.float32 if single and net.dtype == torch.float32 else torch.float64
        if data.dtype != wanted and not (name == "y" and loss is not mse):
            raise TypeError(
                f"{name} is {data.dtype}: expected {wanted}; convert it with .to({wanted})"
            )
        if dims is not None and data.dim() != dims:
            width = net.widths[0 if name == "x" else -1]
            raise ValueError(f"{name} has shape {tuple(data.shape)}: expected (n, {width})")
        if data.device != net.device:
            raise ValueError(
                f"{name} is on {data.device}, the net on {net.device}: expected one device"
            )
        if not torch.isfinite(data).all():
            raise ValueError(
                f"{name} holds {int((~torch.isfinite(data)).sum())} non-finite numbers: expected"
                " none"
            )
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
    if net.batch.numel() == 0:
        raise ValueError(f"the batch {tuple(net.batch)} holds no net: expected at least one")
    for layer, (w, b) in enumerate(zip(net.weights, net.biases, strict=True), start=1):
        for name, p in (("weight", w), ("bias", b)):
            if p is not None and not torch.isfinite(p).all():
                raise ValueError(
                    f"the {name} of layer {layer} holds non-finite numbers: expected none"
                )


def _check_resume(past: Trajectory, net: MLP, rule: Rule, steps: int, keep_smallest: bool) -> None:
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
