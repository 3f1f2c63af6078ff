"""Mixtures of two nets at eleven gammas against one: what the shared Gram saves (at most 3 times one is wanted).

    python benchmarks/mixture.py [--threads 2] [--repeats 3] [--width 0.125] [--side 32] [--images 1000]

With inputs="teacher" all gammas share the teachers' Gram; with inputs="own" each mixture has a Gram of its own.
Prints one JSON object a mode.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch

from lib.mixture import mixtures
from lib.vgg import VGG, Design, initialise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--pools", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    design = Design(width=given.width, hidden=64, channels=1, side=given.side, pools=given.pools)
    nets = [initialise(VGG(design), seed=s) for s in (0, 1)]
    x = torch.randn(given.images, 1, given.side, given.side, generator=torch.Generator().manual_seed(0))
    eleven = [(g, 1 - g) for g in np.linspace(0, 1, 11)]
    for inputs in ("teacher", "own"):
        times: dict[int, list[float]] = {1: [], 11: []}
        for _ in range(given.repeats):
            for shares in (eleven[5:6], eleven):
                start = time.perf_counter()
                mixtures(nets, shares, x, inputs=inputs)
                times[len(shares)].append(time.perf_counter() - start)
        ratios = sorted(b / a for a, b in zip(times[1], times[11], strict=True))
        row = {"inputs": inputs, "threads": given.threads, "images": given.images, "width": given.width}
        row |= {f"median_s_{k}": round(sorted(v)[len(v) // 2], 2) for k, v in times.items()}
        row |= {"eleven_over_one": round(ratios[len(ratios) // 2], 2)}
        print(json.dumps(row | {"spread": [round(ratios[0], 2), round(ratios[-1], 2)]}), flush=True)


if __name__ == "__main__":
    main()
