"""Training many small nets of any depth at once: at least 5 times faster than one after the other
in torch.

Iris-sized work, as in the book's chapter on depth: 150 samples of 4 inputs, 3 targets, hidden
layers of width 6, ReLU, float64, full-batch Adam. Times are seconds a step of all nets; ours also
keeps the smallest-gradient iterates and records what `descend` does by default, the rivals only
step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.timing import Contender, Row, compare, interleave
from lib.nets import MLP, flatten, init, to_sequential
from lib.train.descent import descend

NETS, WIDTH, HIDDEN, LR, TARGET = 40, 6, (1, 2, 3, 4), 2e-3, 5.0
OURS, TURNS = 800, 40  # steps a timing
USUAL, FUSED, BATCHED = (
    "torch, one net after the other",
    "torch, one after the other, fused Adam",
    "torch, batched",
)


def problem(hidden: int) -> tuple[MLP, Tensor, Tensor]:
    """Nets, inputs and targets of the size of Iris."""
    g = torch.Generator().manual_seed(hidden)
    net = init((4, *[WIDTH] * hidden, 3), "relu", std=0.3, batch=(NETS,), generator=g)
    x = torch.rand(150, 4, generator=g, dtype=torch.float64)
    return net, x, torch.nn.functional.one_hot(torch.arange(150) % 3).double()


def one_after_the_other(net: MLP, x: Tensor, y: Tensor, fused: bool) -> Callable[[int], Tensor]:
    """One net of the batch as one writes it; the time of all is NETS times this."""
    module, loss = to_sequential(net), torch.nn.MSELoss()
    optimizer = torch.optim.Adam(module.parameters(), lr=LR, fused=fused)

    def run(steps: int) -> Tensor:
        for _ in range(steps):
            optimizer.zero_grad()
            loss(module(x), y).backward()
            optimizer.step()
        return torch.cat([p.detach().flatten() for p in module.parameters()])

    return run


def run(threads: int, rounds: int) -> tuple[list[Row], dict[str, object]]:
    """The table and, as facts, how far both results lie apart and our time a step, net and
    thread."""
    torch.set_num_threads(threads)
    rows: list[Row] = []
    facts: dict[str, object] = {}
    for hidden in HIDDEN:
        net, x, y = problem(hidden)
        name = f"{NETS} nets, {hidden} hidden layer{'s' * (hidden > 1)}"
        settings = {"lr": LR, "optimizer": "adam", "threads": threads}

        def ours(steps: int, net: MLP = net, x: Tensor = x, y: Tensor = y) -> object:
            return descend(net, x, y, steps=steps, **settings)  # noqa: B023

        def batched(steps: int, net: MLP = net, x: Tensor = x, y: Tensor = y) -> object:
            return descend(net, x, y, steps=steps, backend="torch", **settings)  # noqa: B023

        theirs = one_after_the_other(net[0], x, y, False)(100)
        gap = float(
            (flatten(descend(net, x, y, steps=100, **settings).net)[0] - theirs).abs().max()
        )
        facts[f"{name}: largest difference of a parameter to torch after 100 steps"] = gap
        contenders = {
            "ours": Contender(ours, OURS),
            USUAL: Contender(one_after_the_other(net[0], x, y, False), TURNS, share=1 / NETS),
            FUSED: Contender(one_after_the_other(net[0], x, y, True), TURNS, share=1 / NETS),
            BATCHED: Contender(batched, TURNS),
        }
        times = interleave(contenders, rounds)
        sizes = [
            w.shape[-1] * w.shape[-2] for w in net.weights
        ]  # forward, and back to weights and inputs; float64
        operations = 2 * NETS * len(x) * (3 * sum(sizes) - sizes[0])
        rows += compare(
            name, times, "ours", {USUAL: TARGET, FUSED: TARGET, BATCHED: None}, operations
        )
        pace = float(sorted(times["ours"])[len(times["ours"]) // 2])
        facts[f"{name}: us a step, net and thread"] = pace * threads / NETS * 1e6
    return rows, facts
