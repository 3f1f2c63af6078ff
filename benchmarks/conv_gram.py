"""The Gram of unfolded patches: shift structure against unfold + matmul (at least 2.5 times faster is wanted).

    python benchmarks/conv_gram.py [--threads 2] [--repeats 7] [--dtype float32] [--images 0]

The rival unfolds as many images at a time as suits it best and multiplies; both give the whole Gram. Times are
interleaved. Prints one JSON object a case: medians, their ratio with its spread over the repeats, and the largest
difference over the largest entry.
"""

from __future__ import annotations

import argparse
import json
import time

import torch
from lib.graft import Geometry, patch_gram
from torch import Tensor
from torch.nn import functional

KERNEL = Geometry(1, 1, kernel=(3, 3), padding=(1, 1, 1, 1))
# (images, channels, side): the first is the case of the requirement, the others are layers of VGG-16 at full and 1/8 width
CASES = ((64, 64, 32), (64, 128, 16), (64, 256, 8), (128, 512, 4), (256, 512, 2), (256, 8, 32), (256, 16, 16), (512, 64, 4))


def rival(maps: Tensor, at_once: int) -> Tensor:
    """Unfold, multiply, add up: what one would write."""
    unknowns = 9 * maps.shape[1]
    gram = maps.new_zeros(unknowns, unknowns)
    for part in maps.split(at_once):
        patches = functional.unfold(part, 3, padding=1).transpose(0, 1).reshape(unknowns, -1)
        gram.addmm_(patches, patches.T)
    return gram


def seconds(job) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--cases", type=int, default=len(CASES), help="only the first so many")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    generator = torch.Generator().manual_seed(0)
    for images, channels, side in CASES[: given.cases]:
        maps = torch.randn(images, channels, side, side, generator=generator, dtype=getattr(torch, given.dtype)).relu()
        sizes = [s for s in (1, 4, 16, 64, 256, 512) if s <= images]
        for size in sizes:
            rival(maps, size)  # warm up
        at_once = min(sizes, key=lambda s, m=maps: min(seconds(lambda: rival(m, s)) for _ in range(2)))
        expected, got = rival(maps, at_once), patch_gram(maps, KERNEL)
        apart = float((got - expected).abs().max() / expected.abs().max())
        times: dict[str, list[float]] = {"unfold": [], "shifts": []}
        for _ in range(given.repeats):
            times["unfold"].append(seconds(lambda m=maps, s=at_once: rival(m, s)))
            times["shifts"].append(seconds(lambda m=maps: patch_gram(m, KERNEL)))
        ratios = sorted(a / b for a, b in zip(times["unfold"], times["shifts"], strict=True))
        row = {"images": images, "channels": channels, "side": side, "dtype": given.dtype, "threads": given.threads}
        row |= {f"median_s_{k}": round(sorted(v)[len(v) // 2], 4) for k, v in times.items()}
        row |= {"faster": round(ratios[len(ratios) // 2], 2), "spread": [round(ratios[0], 2), round(ratios[-1], 2)]}
        print(json.dumps(row | {"rival_images_at_once": at_once, "apart": float(f"{apart:.1e}")}), flush=True)


if __name__ == "__main__":
    main()
