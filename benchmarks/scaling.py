"""How the cost of descent and of Hessians grows: with nets, width, samples, inputs and threads.

The rival is our own kernel on one thread, so a ratio is the speed-up. What a machine gives to all
threads together is
not the number of threads, as clocks fall and caches are shared: the speed-up of tanh alone, in the
same rounds, is a fact beside each row, and the target is that one, less a tenth. The curves are
facts: seconds a step, or for all Hessians, on one thread, each the median of interleaved rounds,
with the middle half and the rounds themselves.
"""

from __future__ import annotations

import os

import numpy as np
import torch

from benchmarks.descent import tanh_alone
from benchmarks.timing import Contender, Row, compare, interleave
from lib.curvature import hessian
from lib.nets import MLP, init
from lib.train.descent import descend

ONE = "ours on one thread"
NETS, WIDTHS, SAMPLES, INPUTS = (
    (8, 32, 128, 512, 2048, 8192),
    (1, 2, 4, 8, 16, 32, 64),
    (8, 32, 128, 512, 2048),
    (1, 4, 8, 16, 32),
)
DEFAULT = {"nets": 200, "width": 3, "samples": 50, "inputs": 1}
WORK, LEAST = (
    3e7,
    400,
)  # neurons times samples times inputs a timing, and steps: what a call costs once must not show


def problem(
    nets: int, width: int, samples: int, inputs: int
) -> tuple[MLP, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(samples, inputs, generator=g, dtype=torch.float64)
    y = torch.randn(samples, 1, generator=g, dtype=torch.float64)
    return init((inputs, width, 1), std=0.3, batch=(nets,), generator=g), x, y


def descent(threads: int, work: float = WORK, least: int = LEAST, **size: int) -> Contender:
    net, x, y = problem(**size)
    a_step = net.batch.numel() * net.widths[1] * x.numel()
    return Contender(
        lambda amount: descend(
            net, x, y, steps=amount, lr=1e-3, records=2, keep_smallest=False, threads=threads
        ),
        max(least, int(work / a_step)),
    )


def hessians(**size: int) -> Contender:
    net, x, y = problem(**size)
    return Contender(lambda amount: [hessian(net, x, y) for _ in range(amount)], 1)


def curve(
    make, name: str, values: tuple[int, ...], rounds: int, **default: int
) -> dict[str, object]:
    """Medians over rounds in which every size takes its turn, and the middle half."""
    contenders = {str(v): make(**default | {name: v}) for v in values}
    times = interleave(contenders, rounds)
    quantiles = [np.quantile(times[str(v)], (0.25, 0.5, 0.75)).tolist() for v in values]
    return {
        name: list(values),
        "seconds": [q[1] for q in quantiles],
        "spread": [[q[0], q[2]] for q in quantiles],
        "rounds": [times[str(v)].tolist() for v in values],
    }


def run(threads: int, rounds: int) -> tuple[list[Row], dict[str, object]]:
    """Rows of speed-ups, and the curves."""
    torch.set_num_threads(1)
    rows: list[Row] = []
    facts: dict[str, object] = (
        {"load of the machine meanwhile": os.getloadavg()[0]} if hasattr(os, "getloadavg") else {}
    )
    for nets, width in ((200, 3), (10_000, 3), (16, 64)):
        size = DEFAULT | {"nets": nets, "width": width}
        alone = {f"tanh {t}": Contender(tanh_alone(t), 40_000, t) for t in (threads, 1)}
        ours = {
            "ours": descent(threads, 10 * WORK, 5 * LEAST, **size),
            ONE: descent(1, 10 * WORK, 5 * LEAST, **size),
        }
        times = interleave(ours | alone, rounds)
        name = f"{nets} nets of width {width}, {threads} threads"
        both = times["tanh 1"] / times[f"tanh {threads}"]
        facts[f"{name}: speed-up of tanh alone"] = possible = float(np.median(both))
        facts[f"{name}: the same in every round"] = both.tolist()
        rows += compare(name, times, "ours", {ONE: 0.9 * possible})
    for name, values in (
        ("nets", NETS),
        ("width", WIDTHS),
        ("samples", SAMPLES),
        ("inputs", INPUTS),
    ):
        facts[f"seconds a step by {name}"] = curve(
            lambda **size: descent(1, **size), name, values, rounds, **DEFAULT
        )
    small = DEFAULT | {"nets": 1000}
    for name, values in (
        ("nets", (100, 1000, 10_000)),
        ("width", (1, 2, 4, 8, 16)),
        ("samples", (10, 50, 250, 1000)),
    ):
        facts[f"seconds of Hessians by {name}"] = curve(hessians, name, values, rounds, **small)
    return rows, facts
