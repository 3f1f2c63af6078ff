"""Times measured while a page is made: descent, Hessians and training as one size grows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lib.curvature import hessian
from lib.nets import MLP, VGG, init, initialise
from lib.train.descent import descend
from lib.train.sgd.recipe import Recipe
from lib.train.sgd.training import Execution, train

Times = dict[str, NDArray[np.float64]]
DESCENT = {"nets": 200, "width": 3, "samples": 50, "inputs": 1}
HESSIANS = {"nets": 1000, "width": 3, "samples": 50, "inputs": 1}
DESCENT_SIZES = {
    "nets": (8, 128, 2048),
    "width": (1, 8, 64),
    "samples": (8, 128, 1024),
    "inputs": (1, 8, 32),
}
HESSIAN_SIZES = {"nets": (100, 1000), "width": (1, 4, 16), "samples": (10, 100, 1000)}


def in_turn(job: Callable[[int], object], sizes: Sequence[int], rounds: int) -> list[float]:
    """Seconds of job(size) for each size, the median of rounds in which all take their turn.

    >>> len(in_turn(lambda size: None, (1, 2), rounds=1))
    2
    """
    times: list[list[float]] = []
    for _ in range(rounds + 1):
        times.append([])
        for size in sizes:
            start = time.perf_counter()
            job(size)
            times[-1].append(time.perf_counter() - start)
    return np.median(times[1:], axis=0).tolist()  # the first round compiles


def problem(
    seed: int, nets: int, width: int, samples: int, inputs: int
) -> tuple[MLP, Tensor, Tensor]:
    """Random nets, inputs and targets of these sizes."""
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, inputs, generator=draws, dtype=torch.float64)
    net = init((inputs, width, 1), std=0.3, batch=(nets,), generator=draws)
    return net, x, torch.tanh(x.sum(1, keepdim=True))


def descent_growth(seed: int, steps: int, rounds: int) -> Times:
    """Seconds of a step of descent on one thread, for each size in DESCENT_SIZES."""
    found: Times = {}
    for name, sizes in DESCENT_SIZES.items():
        cases = {size: problem(seed, **DESCENT | {name: size}) for size in sizes}
        amounts = {size: _steps(steps, *case[:2]) for size, case in cases.items()}

        def job(size: int, cases: Mapping = cases, amounts: Mapping = amounts) -> None:
            options = {"lr": 1e-3, "records": 2, "keep_smallest": False, "threads": 1}
            descend(*cases[size], steps=amounts[size], **options)

        found[name] = np.array(in_turn(job, sizes, rounds)) / [amounts[s] for s in sizes]
    return found


def _steps(most: int, net: MLP, x: Tensor) -> int:
    # fewer for large problems, a tenth at least
    work = net.batch.numel() * net.widths[1] * x.numel()
    return max(most // 10, int(most * 30_000 / work))


def hessian_growth(seed: int, rounds: int) -> Times:
    """Seconds of the Hessians of all nets, for each size in HESSIAN_SIZES."""
    found: Times = {}
    for name, sizes in HESSIAN_SIZES.items():
        cases = {size: problem(seed, **HESSIANS | {name: size}) for size in sizes}
        times = in_turn(lambda size, cases=cases: hessian(*cases[size]), sizes, rounds)
        found[name] = np.array(times)
    return found


def training_growth(counts: Sequence[int], seed: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of an epoch of a VGG-16 of width 1/32 on so many images, in two layouts."""
    draws = torch.Generator().manual_seed(seed)
    images = torch.randn(max(counts), 3, 32, 32, generator=draws)
    labels = torch.randint(10, (max(counts),), generator=draws)
    start = initialise(VGG(width=1 / 32), generator=seed)

    def epoch(n: int, last: bool) -> None:
        how = Execution(channels_last=last)
        train([start], images[:n], labels[:n], Recipe(epochs=1), execution=how)

    return {
        name: in_turn(lambda n, last=last: epoch(n, last), counts, rounds)
        for name, last in (("channels first", False), ("channels last", True))
    }
