"""`descend`: the one front of every backend; checks, plans the records, and drives an engine in
short chunks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lib.nets.losses import Loss, mse
from lib.nets.mlp import MLP
from lib.train.descent.checks import (
    check_memory,
    check_problem,
    check_resume,
    check_settings,
    checked_rule,
)
from lib.train.descent.deep import DeepEngine, obstacles
from lib.train.descent.engine import Engine, Progress, Run, beginning, loss_limit, no_limit, resumed
from lib.train.descent.engine import trajectory as trajectory_of
from lib.train.descent.gpu import TritonEngine
from lib.train.descent.gpu import obstacles as gpu_obstacles
from lib.train.descent.reference import TorchEngine
from lib.train.descent.trajectory import Diverged, Trajectory, record_steps
from lib.train.descent.two_layers import NumbaEngine

CHUNK_SECONDS = 0.1  # how often the bar moves and Ctrl-C is heard
SHORT_SECONDS = 1e-3  # a chunk for which no threads are started


def descend(  # noqa: PLR0913  # every option of a run, by keyword
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
    >>> net = init((1, 2, 1), batch=(3,), generator=0)
    >>> run = descend(net, x, x**2, steps=500, lr=0.1, records=4)
    >>> run.steps, tuple(run.losses.shape), bool((run.losses[-1] < run.losses[0]).all())
    (tensor([  0,   1,  22, 500]), (4, 3), True)
    >>> tuple(run.smallest.batch), tuple(run.smallest_gradient.shape)
    ((3, 3), (3, 3))
    """
    rule = checked_rule(optimizer, lr, betas, eps)
    check_problem(net, x, y, loss, single=backend in ("triton", "torch"))
    check_settings(steps, on_divergence, threads)
    kind = _choose(backend, net, loss)
    plan = record_steps(int(steps), records)
    if resume is not None:
        check_resume(resume, net, rule, int(steps), keep_smallest)
        net = resume.net
        plan = np.concatenate([resume.steps.numpy(), plan[plan > resume.steps_done]])
    check_memory(net, len(plan), keep_smallest)
    net, x, y = net.map(torch.Tensor.detach), x.detach(), y.detach()
    threads = threads or torch.get_num_threads()
    limit = no_limit(net) if resume is None else resume.state.limit
    run = Run(x, y, loss, rule, plan, limit, keep_smallest, threads)
    start = beginning(run, net) if resume is None else resumed(resume)
    engine = kind(run, start)
    if resume is None:  # the loss at the start sets the limit; no other way to it is as fast
        for task in engine.tasks(0):
            task()
        limit.copy_(loss_limit(engine.first_losses(), y))
    interrupted = _drive(engine, start.steps_done, int(steps), threads, progress)
    trajectory = trajectory_of(run, engine.progress(), interrupted)
    if on_divergence == "raise" and (trajectory.diverged_at >= 0).any():
        raise Diverged(trajectory)
    return trajectory


def _drive(engine: Engine, done: int, steps: int, threads: int, progress: bool) -> bool:
    # Short chunks, so that the bar moves and Ctrl-C is heard; they do not change the result.
    chunk, last = 1, 0.0
    with (
        ThreadPoolExecutor(threads) as pool,
        tqdm(total=steps, initial=done, disable=not progress, unit="step") as bar,
    ):
        while True:
            until, start = min(done + chunk, steps), time.perf_counter()
            interrupted = _advance(engine, until, pool, last < SHORT_SECONDS)
            bar.update(until - done)
            done, last = until, time.perf_counter() - start
            if done >= steps or interrupted:
                return done < steps
            if last < CHUNK_SECONDS / 2:
                chunk *= 2


def _advance(engine: Engine, until: int, pool: ThreadPoolExecutor, short: bool) -> bool:
    # Work in several threads, or in Python, runs in a pool (the kernels release the GIL), so that
    # Ctrl-C reaches this thread and halves no step. Ctrl-C waits for a compiled task by itself.
    tasks = engine.tasks(until)
    alone = engine.compiled and (short or len(tasks) == 1)
    try:
        _perform(tasks, None if alone else pool)
    except KeyboardInterrupt:
        for task in engine.tasks(until):  # what has not reached `until`, if any
            task()
        return True
    return False


def _perform(tasks: Sequence[Callable[[], None]], pool: ThreadPoolExecutor | None) -> None:
    if pool is None:
        for task in tasks:
            task()
        return
    futures = [pool.submit(task) for task in tasks]
    try:
        wait(futures)
    except KeyboardInterrupt:
        pool.shutdown()
        raise
    for future in futures:
        future.result()


def _choose(backend: str, net: MLP, loss: Loss) -> Callable[[Run, Progress], Engine]:
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
