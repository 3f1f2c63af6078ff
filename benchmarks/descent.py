"""Training many two-layer nets at once: lib.descent against JAX (vmap, scan, jit) and against torch, one net after another.

    python benchmarks/descent.py [--rounds 5] [--threads 2]

All in float64, full-batch gradient descent, 50 samples, hidden biases; rivals take turns within every round, so that a
noisy machine slows all of them. Prints microseconds an epoch, the ratios, and the share of the machine's tanh throughput that the
kernel reaches, and writes benchmarks/results/descent.json. JAX comes with `uv pip install -e .[bench]`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numba import njit

from lib.descent import descend
from lib.descent.lanes import LANES, aligned, load, splat, store
from lib.descent.pointwise import TANH, constants, in_lanes, unit, value_with
from lib.mlp import MLP, init

CASES = {
    "200 nets of width 3": (200, 3, 8.0),
    "200 nets of width 1": (200, 1, 5.0),
    "1 net of width 500": (1, 500, 2.0),
}
SAMPLES, RATE = 50, 0.005


@njit(nogil=True)
def _tanh_pass(times, table, scale, z, out):
    const = in_lanes(table)
    for _ in range(times):
        for i in range(z.size // LANES):
            store(out, i, value_with(TANH, 1.0, load(z, i) * splat(scale), True, const))


def tanh_rate(threads: int) -> float:
    """tanh a second that all threads reach together on arrays that stay in the first-level cache: the limit."""
    size, times = 512, 20000
    arrays = [(aligned(size // LANES).reshape(-1), aligned(size // LANES).reshape(-1)) for _ in range(threads)]
    for z, _ in arrays:
        z[:] = np.linspace(-3, 3, size)
    table = constants(TANH)
    work = [lambda z=z, out=out: _tanh_pass(times, table, unit(TANH), z, out) for z, out in arrays]
    work[0]()
    with ThreadPoolExecutor(threads) as pool:
        start = time.perf_counter()
        list(pool.map(lambda task: task(), work))
        return threads * size * times / (time.perf_counter() - start)


def ours(net: MLP, x, y, threads: int) -> Callable[[int], None]:
    return lambda epochs: descend(net, x, y, steps=epochs, lr=RATE, records=20, threads=threads)


def jax_rival(net: MLP, x, y) -> Callable[[int], None]:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    w, b, a = (jnp.asarray(p.numpy()) for p in (net.weights[0], net.biases[0], net.weights[1]))
    xs, ys = jnp.asarray(x.numpy()), jnp.asarray(y.numpy())

    def loss(p):
        w, b, a = p
        return jnp.mean((jnp.tanh(xs @ w.T + b) @ a.T - ys) ** 2)

    step = jax.vmap(lambda p: jax.tree.map(lambda v, g: v - RATE * g, p, jax.grad(loss)(p)))
    scan = jax.jit(lambda p, n: jax.lax.scan(lambda q, _: (step(q), None), p, None, length=n)[0], static_argnums=1)

    def go(epochs: int) -> None:
        jax.block_until_ready(scan((w, b, a), epochs))

    return go


def torch_rival(net: MLP, x, y) -> Callable[[int], None]:
    def go(epochs: int) -> None:
        for k in range(net.batch[0]):
            parts = [p[k].clone().requires_grad_() for p in net.parameters()]
            sgd = torch.optim.SGD(parts, lr=RATE)
            for _ in range(epochs):
                sgd.zero_grad()
                w, b, a = parts
                torch.nn.functional.mse_loss(torch.tanh(x @ w.T + b) @ a.T, y).backward()
                sgd.step()

    return go


def per_epoch(job: Callable[[int], None], epochs: int) -> float:
    start = time.perf_counter()
    job(epochs)
    return (time.perf_counter() - start) / epochs * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    x = torch.linspace(-15, 15, SAMPLES, dtype=torch.float64)[:, None]
    y = torch.tanh(x - 7) + torch.tanh(x) + torch.tanh(x + 7)
    rows = []
    for name, (nets, width, target) in CASES.items():
        net = init((1, width, 1), std=width**-1.5, batch=(nets,), output_bias=False)
        jobs = {"lib.descent": (ours(net, x, y, given.threads), 20000), "JAX": (jax_rival(net, x, y), 2000)}
        if name == "200 nets of width 3":
            jobs["torch, one net at a time"] = (torch_rival(net, x, y), 5)
        for job, epochs in jobs.values():
            job(epochs)  # compiles
        times = {rival: [] for rival in jobs}
        limits = []
        for _ in range(given.rounds):
            for rival, (job, epochs) in jobs.items():
                times[rival].append(per_epoch(job, epochs))
            limits.append(tanh_rate(given.threads))
        mine = times.pop("lib.descent")
        share = statistics.median(
            nets * width * SAMPLES / (t * 1e-6) / limit for t, limit in zip(mine, limits, strict=True)
        )
        for rival, theirs in times.items():
            ratios = sorted(t / m for t, m in zip(theirs, mine, strict=True))
            rows.append(
                {
                    "name": name,
                    "rival_name": rival,
                    "ours_us_per_epoch": statistics.median(mine),
                    "rival_us_per_epoch": statistics.median(theirs),
                    "ratio": statistics.median(ratios),
                    "spread": [ratios[0], ratios[-1]],
                    "target": 1000.0 if "torch" in rival else target,
                    "share_of_tanh_limit": share,
                }
            )
    print(
        f"{'case':22} {'rival':26} {'ours us':>9} {'rival us':>10} {'ratio':>8} {'min..max':>16} {'target':>7} {'of tanh limit':>13}"
    )
    for r in rows:
        spread = f"{r['spread'][0]:.1f}..{r['spread'][1]:.1f}"
        print(
            f"{r['name']:22} {r['rival_name']:26} {r['ours_us_per_epoch']:9.1f} {r['rival_us_per_epoch']:10.1f} {r['ratio']:8.1f} {spread:>16}"
            f" {r['target']:7.0f} {r['share_of_tanh_limit']:12.0%}"
        )
    environment = {
        "machine": platform.machine(),
        "threads": given.threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "rounds": given.rounds,
        "tanh_per_second": statistics.median(limits),
    }
    path = Path(__file__).parent / "results" / "descent.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"environment": environment, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
