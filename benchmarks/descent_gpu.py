"""The GPU kernel of `descend` against CUDA-graphed batched PyTorch, and against our CPU kernel on
the same machine.

    python -m benchmarks descent_gpu

10,000 two-layer tanh nets on 50 samples. The rival writes out the same steps for all nets at once
with batched products and replays them as one CUDA graph, the fastest form of PyTorch for work this
small. The CPU kernel runs on as many threads as `--threads` says; the target of 20 is against two.
The limit is the time that a step's multiply-adds take at the device's peak, and that of its tanh
evaluations alone, measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.descent import LR, data
from benchmarks.timing import Contender, Row, Unavailable, compare, interleave
from lib.nets import MLP, flatten, init
from lib.train.descent import descend

NETS, WIDTHS = 10_000, (1, 3, 8)
CPU, GRAPHED = "our CPU kernel", "CUDA-graphed batched torch"
INNER = 20  # steps in one graph: replaying it costs as much as a launch


def needed() -> None:
    """Raise what this machine lacks."""
    if not torch.cuda.is_available():
        build = torch.version.cuda or "none"
        raise Unavailable(
            f"no CUDA device is visible to torch {torch.__version__} (built for CUDA {build}). What"
            " is missing: the measured ratios to CUDA-graphed torch (target 10) and to our CPU"
            " kernel (target 20)"
        )
    try:
        import triton  # noqa: F401
    except ImportError:
        raise Unavailable("triton is not installed; it comes with torch on Linux") from None


def batched(
    net: MLP, x: torch.Tensor, y: torch.Tensor
) -> tuple[Callable[[], None], tuple[torch.Tensor, ...]]:
    """One step of all nets, written out, and the parameters that it updates in place: w, b (B, m,
    1), a (B, 1, m)."""
    (w, a), (b, _) = net.weights, net.biases
    w, a, b = w.clone(), a.clone(), b.unsqueeze(-1).clone()
    row, target = x.T.contiguous(), y.T.contiguous()

    def step() -> None:
        t = torch.tanh(torch.addcmul(b, w, row))  # (B, m, n)
        r = (torch.bmm(a, t) - target) * (2 / len(x))
        h = (1 - t * t) * (a.mT * r)
        a.sub_(torch.bmm(r, t.mT), alpha=LR)
        w.sub_((h * row).sum(-1, keepdim=True), alpha=LR)
        b.sub_(h.sum(-1, keepdim=True), alpha=LR)

    return step, (w, b, a)


def graphed(
    net: MLP, x: torch.Tensor, y: torch.Tensor
) -> tuple[Callable[[int], None], tuple[torch.Tensor, ...]]:
    """`run(steps)`, which replays `batched` as a CUDA graph, and the parameters."""
    step, parameters = batched(net, x, y)
    side, kept = torch.cuda.Stream(), [p.clone() for p in parameters]
    with torch.cuda.stream(
        side
    ):  # a graph is captured only after the libraries it calls have warmed up
        for _ in range(3):
            step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(INNER):
            step()
    for p, start in zip(parameters, kept, strict=True):
        p.copy_(start)

    def run(steps: int) -> None:
        for _ in range(steps // INNER):
            graph.replay()
        torch.cuda.synchronize()

    return run, parameters


def tanh_alone(values: torch.Tensor) -> Callable[[int], None]:
    """torch.tanh of all pre-activations of a step, in place of a graph's nodes: reads and writes
    them once each."""
    out = torch.empty_like(values)

    def run(amount: int) -> None:
        for _ in range(amount):
            torch.tanh(values, out=out)
        torch.cuda.synchronize()

    return run


def run(threads: int, rounds: int) -> tuple[list[Row], dict[str, object]]:
    """The rows of the table, and other facts."""
    needed()
    rows: list[Row] = []
    facts: dict[str, object] = {
        "device": torch.cuda.get_device_name(),
        "capability": list(torch.cuda.get_device_capability()),
    }
    for width in WIDTHS:
        for dtype in (torch.float64, torch.float32):
            x, y = (t.to(dtype) for t in data())
            net = init(
                (1, width, 1), std=width**-1.5, batch=(NETS,), output_bias=False, generator=0
            )
            net = net.to(dtype)
            name = f"{NETS} nets of width {width}, 50 samples, {str(dtype)[6:]}"
            gx, gy, gnet = x.cuda(), y.cuda(), net.to("cuda")
            rival, _ = graphed(gnet, gx, gy)
            facts[f"{name}: largest difference to torch after 100 steps"] = _apart(gnet, gx, gy)
            plain = {"lr": LR, "records": 2, "keep_smallest": False}

            def ours(amount: int, net: MLP = gnet, x=gx, y=gy, plain=plain) -> None:
                descend(net, x, y, steps=amount, backend="triton", **plain)

            contenders = {
                "ours": Contender(ours, 20_000),
                GRAPHED: Contender(rival, 50 * INNER),
                "torch.tanh alone, through memory": Contender(
                    tanh_alone(torch.randn(NETS, width, 50, device="cuda", dtype=dtype)), 500
                ),
            }
            targets = {GRAPHED: 10.0, "torch.tanh alone, through memory": None}
            if dtype == torch.float64:

                def on_cpu(amount: int, net: MLP = net, x=x, y=y, plain=plain) -> None:
                    descend(net, x, y, steps=amount, threads=threads, **plain)

                contenders[CPU] = Contender(on_cpu, 50)
                targets[CPU] = 20.0
            rows += compare(name, interleave(contenders, rounds), "ours", targets)
    torch.cuda.reset_peak_memory_stats()
    descend(gnet, gx, gy, steps=10, lr=LR, backend="triton")
    facts["peak MiB on the device, with 200 records"] = torch.cuda.max_memory_allocated() / 2**20
    return rows, facts


def _apart(net: MLP, x: torch.Tensor, y: torch.Tensor) -> float:
    steps = 5 * INNER
    rival, (w, b, a) = graphed(net, x, y)
    rival(steps)
    theirs = torch.cat([p.flatten(1) for p in (w, b, a)], 1)
    ours = flatten(descend(net, x, y, steps=steps, lr=LR, backend="triton").net)
    return float(np.abs((ours - theirs).cpu().numpy()).max())
