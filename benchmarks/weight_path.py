"""The 101-point line between two nets: every method of `weight_path` against the point-by-point loop.

    python benchmarks/weight_path.py [--threads 2] [--repeats 5] [--width 0.25] [--side 8]

The rival is the loop that one would write: interpolate the state dict, load it, evaluate, all threads on one net.
Prints one JSON object a method, times interleaved, with the ratio to the rival and its spread.
"""

from __future__ import annotations

import argparse
import copy
import json
import time

import torch

from lib.mixture import weight_path
from lib.vgg import VGG, Design, evaluate, initialise, penalty

POINTS = 101


def rival(net1: VGG, net2: VGG, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Cross entropy + penalty at every point, one net after the other."""
    a, b, net = net1.state_dict(), net2.state_dict(), copy.deepcopy(net1)
    overall = []
    for gamma in torch.linspace(0, 1, POINTS).tolist():
        net.load_state_dict({name: gamma * a[name] + (1 - gamma) * b[name] for name in a})
        with torch.no_grad():
            overall.append(evaluate(net, x, y).cross_entropy + float(penalty(net)))
    return torch.tensor(overall, dtype=torch.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--images", type=int, default=1437)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--depth", type=int, default=11)
    parser.add_argument("--side", type=int, default=8)
    parser.add_argument("--pools", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    design = Design(depth=given.depth, width=given.width, hidden=64, channels=1, side=given.side, pools=given.pools)
    nets = [initialise(VGG(design), seed=s) for s in (0, 1)]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(given.images, 1, given.side, given.side, generator=generator)
    y = torch.randint(0, 10, (given.images,), generator=generator)
    jobs = {"loop by hand": lambda: rival(*nets, x, y)}
    for method in ("lanes", "vmap", "loop"):
        jobs[method] = lambda m=method: weight_path(*nets, x, y, gammas=POINTS, method=m, threads=given.threads).overall
    expected = rival(*nets, x, y)
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(given.repeats):
        for name, job in jobs.items():
            start = time.perf_counter()
            found = job()
            times[name].append(time.perf_counter() - start)
            if not torch.allclose(found, expected, rtol=1e-4):  # float32 nets of eleven layers
                raise SystemExit(f"{name} differs from the loop by {float((found - expected).abs().max()):.2g}")
    for name, own in times.items():
        ratios = sorted(r / t for r, t in zip(times["loop by hand"], own, strict=True))
        row = {"method": name, "threads": given.threads, "points": POINTS, "images": given.images}
        row |= {"median_s": round(sorted(own)[len(own) // 2], 3), "times_faster": round(ratios[len(ratios) // 2], 2)}
        print(json.dumps(row | {"spread": [round(ratios[0], 2), round(ratios[-1], 2)]}), flush=True)


if __name__ == "__main__":
    main()
