"""Analytic batched Hessians against `vmap(torch.func.hessian)`: at least 5 times faster on 10,000 small nets.

    python benchmarks/hessian.py [--rounds 5] [--threads 2] [--nets 10000]

All in float64; the rivals take turns within every round, so that a noisy machine slows both. Prints the median seconds,
the ratios and the largest difference of the results, and writes benchmarks/results/hessian.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from lib.curvature import hessian
from lib.mlp import MLP, flatten, init, unflatten
from lib.risk import mse, risk

# widths, samples: the nets of Zhang et al. 2021 (Figs. 3a, 3b, 4), and one with two hidden layers
CASES = [((1, 1, 1), 50), ((1, 3, 1), 50), ((4, 2, 3), 150), ((2, 3, 3, 1), 50)]
CHUNK = 1000  # of vmap; all nets at once is slower on a CPU and takes gigabytes


def problem(widths: tuple[int, ...], nets: int, n: int) -> tuple[MLP, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    net = init(widths, "tanh", std=0.7, batch=(nets,), output_bias=False, generator=g)
    x = torch.randn(n, widths[0], generator=g, dtype=torch.float64)
    return net, x, torch.randn(n, widths[-1], generator=g, dtype=torch.float64)


def rival(net: MLP, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    """What one would write without a closed form."""
    like, theta = net[0], flatten(net)
    one = torch.func.hessian(lambda t: risk(unflatten(t, like), x, y, mse))
    return lambda: torch.func.vmap(one, chunk_size=CHUNK)(theta)


def timed(job: Callable[[], Tensor]) -> tuple[float, Tensor]:
    start = time.perf_counter()
    result = job()
    return time.perf_counter() - start, result


def compare(widths: tuple[int, ...], n: int, nets: int, rounds: int) -> dict[str, object]:
    net, x, y = problem(widths, nets, n)
    ours, theirs = (lambda: hessian(net, x, y)), rival(net, x, y)
    (_, a), (_, b) = timed(ours), timed(theirs)  # also warms both up
    turns = [(timed(ours)[0], timed(theirs)[0]) for _ in range(rounds)]
    fast, slow = (statistics.median(t) for t in zip(*turns, strict=True))
    ratios = sorted(s / f for f, s in turns)
    return {
        "name": f"{nets} nets {'-'.join(map(str, widths))}, {n} samples",
        "rival_name": "vmap(torch.func.hessian)",
        "ours_s": fast,
        "rival_s": slow,
        "ratio": statistics.median(ratios),
        "spread": [ratios[0], ratios[-1]],
        "target": 5.0,
        "relative_difference": float((a - b).abs().max() / b.abs().max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--nets", type=int, default=10_000)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    warnings.filterwarnings("ignore", message=".*torch.jit.script.*")  # raised inside torch.func.hessian
    print(f"{'case':32} {'ours s':>8} {'rival s':>8} {'ratio':>6} {'min..max':>12} {'target':>6} {'difference':>10}")
    rows = []
    for widths, n in CASES:
        r = compare(widths, n, given.nets, given.rounds)
        rows.append(r)
        spread = f"{r['spread'][0]:.1f}..{r['spread'][1]:.1f}"
        print(
            f"{r['name']:32} {r['ours_s']:8.4f} {r['rival_s']:8.4f} {r['ratio']:6.1f} {spread:>12} {r['target']:6.0f}"
            f" {r['relative_difference']:10.1e}",
            flush=True,
        )
    environment = {
        "machine": platform.machine(),
        "threads": given.threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "rounds": given.rounds,
    }
    path = Path(__file__).parent / "results" / "hessian.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"environment": environment, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
