"""The parts of a GPU session: what each measures, and the least seconds that it needs.

`python -m benchmarks.gpu.parts NAME FILE SECONDS [--toy]` runs one and writes its numbers to FILE.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks import descent_gpu, timing
from benchmarks.vgg import BATCH, images, plain
from companion.data import load
from experiments.families import Run, Unfinished, train_family
from experiments.grafting.increase import error_increase
from lib.graft import graft_layers
from lib.nets import VGG, Design, init, initialise
from lib.train.descent import descend
from lib.train.sgd import Execution, Recipe, evaluate, to_images, train

ROOT = Path(__file__).parents[2]
Numbers = dict[str, object]


@dataclass(frozen=True)
class Part:
    """One part.

    Args:
        what: it does, in words;  least: seconds that it needs, or it is not begun.
        run: (toy, seconds left) -> numbers.
    """

    what: str
    least: float
    run: Callable[[bool, float], Numbers]


def code_digest(root: Path) -> str:
    """Of everything that the parts run: a result is of this code or it is stale."""
    files = sorted(
        p for f in ("lib", "experiments", "benchmarks") for p in (root / f).rglob("*.py")
    )
    return hashlib.sha256(b"".join(p.read_bytes() for p in files)).hexdigest()[:16]


def _where(toy: bool) -> str:
    if not toy and not torch.cuda.is_available():
        raise timing.Unavailable("torch finds no CUDA device: use --toy to rehearse on a CPU")
    return "cpu" if toy else "cuda"


def _seconds(call: Callable[[], object], rounds: int = 3) -> float:
    """Median time of a call, the first one not counted."""
    taken = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
    return float(np.median(taken[1:]))


def device(toy: bool, left: float) -> Numbers:
    """The device's name, and its pace of products and copies."""
    del left
    where, size = _where(toy), 64 if toy else 8192
    a = torch.randn(size, size, device=where, dtype=torch.bfloat16)
    block = torch.empty(1 << (16 if toy else 30), dtype=torch.uint8, device=where)
    found: Numbers = {
        "bf16 products, TFLOP/s": 2e-12 * size**3 / _seconds(lambda: a @ a),
        "copies, GB/s read and written": 2e-9 * block.numel() / _seconds(block.clone),
    }
    if not toy:
        found["capability"] = list(torch.cuda.get_device_capability())
    return found


def trajectories(toy: bool, left: float) -> Numbers:
    """The Triton kernel against the torch reference, over whole trajectories."""
    _where(toy)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [*command, "tests/lib/train/descent/test_gpu.py"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=left,
    )  # fmt: skip
    counts = {k: int(n) for n, k in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout)}
    if done.returncode:
        raise RuntimeError(done.stdout[-4000:])
    return dict(counts)


def descent(toy: bool, left: float) -> Numbers:
    """K7: many small nets against CUDA-graphed torch and our CPU kernel."""
    del left
    if toy:
        x, y = (
            torch.linspace(-1, 1, 8, dtype=torch.float64).reshape(-1, 1),
            torch.ones(8, 1).double(),
        )
        net = init((1, 1, 1), batch=(2,), generator=0)
        call = lambda: descend(net, x, y, steps=2, lr=0.01, backend="triton")  # noqa: E731
        return {"seconds a step, interpreted": _seconds(call, 1) / 2}
    rows, facts = descent_gpu.run(threads=2, rounds=5)
    timing.write(ROOT / "benchmarks" / "results", "descent_gpu", rows, facts, 2, 5)
    return {f"{row.name}, times {row.rival_name}": row.ratio for row in rows}


def throughput(toy: bool, left: float) -> Numbers:
    """Training VGG-16: images a second, ours and a plain loop."""
    del left
    where = _where(toy)
    x, y = images(BATCH if toy else 64 * BATCH)
    how = Execution(where, mixed=not toy, compiled=not toy, channels_last=True)
    found: Numbers = {}
    for width in (1 / 32,) if toy else (1.0, 0.25):
        net = initialise(VGG(width=width), generator=0)
        recipe = Recipe(epochs=1, batch=BATCH, milestones=())
        ways = {
            "ours": partial(train, [net], x, y, recipe, execution=how),
            "plain loop, no augmentation": partial(plain(net, x, y, False, where), 0),
        }
        for who, call in ways.items():
            found[f"width {width:g}: images a second, {who}"] = len(x) / _seconds(call, 2)
    return found


def grafting(toy: bool, left: float) -> Numbers:
    """All joints of a pair: the time, and how far the residuals are from those of the CPU."""
    del left
    where, width, count = _where(toy), *((1 / 32, 64) if toy else (1.0, 4096))
    pair = [initialise(VGG(width=width), generator=s) for s in (0, 1)]
    x, _ = images(max(count, 256))
    there = [net.to(where) for net in (initialise(VGG(width=width), generator=s) for s in (0, 1))]
    few = [2, 6] if toy else [2, 4, 7]
    ours = graft_layers(*there, x[:256].to(where), few)
    on_cpu = graft_layers(*pair, x[:256], few)
    apart = [abs(a.relative - b.relative) for a, b in zip(ours, on_cpu, strict=True)]
    layers, moved = list(range(1, 11)), x[:count].to(where)  # beyond, 4,096 images are too few
    return {
        f"seconds for {len(layers)} joints, {count} images, width {width:g}": _seconds(
            lambda: graft_layers(*there, moved, layers), 1
        ),
        "largest difference of relative residuals to the CPU": max(apart),
    }


def family(toy: bool, left: float) -> Numbers:
    """Two nets of full width for 30 epochs, resumable, and the grafts between them."""
    where = _where(toy)
    x, y, held_x, held_y = _data(toy)
    epochs, width, side = (2, 1 / 32, 8) if toy else (30, 1.0, 32)
    design = Design(depth=16, width=width, channels=3, side=side, pools=3 if toy else 5)
    recipe = Recipe(epochs=epochs, milestones=() if toy else (9, 18, 27), weight=width, flip=True)
    run = Run(
        Execution(where, mixed=not toy, compiled=not toy, channels_last=toy),
        1,
        ROOT / "_build" / ("gpu-toy" if toy else "store") / "gpu-family",
        max(left - 60, 30) / 60,
    )
    members = [("code_normal", 0), ("code_normal", 1)]
    nets = [m.nets[epochs] for m in train_family(design, members, x, y, recipe, run=run)]
    nets, fit = [net.to(where) for net in nets], x[:10_000].to(where)
    held_x, held_y = held_x.to(where), held_y.to(where)
    found = error_increase(*nets, fit, held_x, held_y, list(range(1, len(design.conv_widths))))
    return {
        "epochs": epochs,
        "training images": len(x),
        "test accuracy": [evaluate(net, held_x, held_y).accuracy for net in nets],
        "error increase by layer, points": [100 * e for e in found.error],
    }


def _data(toy: bool) -> tuple[torch.Tensor, ...]:
    if toy:
        g = torch.Generator().manual_seed(0)
        x, y = torch.randn(256, 3, 8, 8, generator=g), torch.arange(256) % 10
        return x, y, x[:64], y[:64]
    folder = Path(os.environ.get("DATA_DIR", ROOT / "data"))
    (a, b), (c, d) = (load("cifar10", split, folder) for split in ("train", "test"))
    return to_images(a, 32), torch.as_tensor(b), to_images(c, 32), torch.as_tensor(d)


PARTS = {
    "device": Part("what device this is", 20, device),
    "trajectories": Part("the Triton kernel against its reference", 60, trajectories),
    "descent": Part("K7, many small nets", 90, descent),
    "throughput": Part("VGG-16, images a second", 120, throughput),
    "grafting": Part("all joints of a pair at full width", 60, grafting),
    "family": Part("two nets of full width, 30 epochs, grafted", 90, family),
}


def main() -> int:
    name, file, left = sys.argv[1:4]
    toy = "--toy" in sys.argv[4:]
    try:
        numbers = PARTS[name].run(toy, float(left))
    except Unfinished as early:
        print(f"{name}: {early}")
        return 3
    except (timing.Unavailable, FileNotFoundError) as missing:
        print(f"{name}: {missing}")
        return 1
    gpu = {} if toy else {"device": torch.cuda.get_device_name()}
    content = {"toy": toy, "numbers": numbers, "environment": timing.environment() | gpu}
    Path(file).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
