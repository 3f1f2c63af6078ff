"""101 nets on a line in weight space against the loop one would write: at least 3 times faster on
two cores.

The nets are those of the interpolation chapter's quick profile. The rival interpolates the state
dict, loads it into one net and evaluates, all threads on that net; it gives the same numbers, which
is checked before anything is timed."""

from __future__ import annotations

import copy

import torch

from benchmarks.timing import Contender, Row, compare, interleave
from benchmarks.vgg import products
from lib.joint.dense_maps import small_maps
from lib.mixture import weight_path
from lib.mixture.two_by_two import pays
from lib.nets import VGG, Design, initialise
from lib.train.sgd import evaluate, penalty

POINTS, IMAGES, TARGET = 101, 512, 3.0
RIVAL = "one net after the other"
CASES = {
    "quick net": Design(depth=11, width=0.125, hidden=64, channels=1, side=8, pools=2),
    "VGG-16, width 1/8, 32 pixels": Design(depth=16, width=0.125, hidden=64, channels=3),
}


def rival(net1: VGG, net2: VGG, x: torch.Tensor, y: torch.Tensor, points: int) -> torch.Tensor:
    """Cross entropy + penalty at every point, one net after the other."""
    a, b, net = net1.state_dict(), net2.state_dict(), copy.deepcopy(net1)
    overall = []
    for gamma in torch.linspace(0, 1, points).tolist():
        net.load_state_dict({name: gamma * a[name] + (1 - gamma) * b[name] for name in a})
        with torch.no_grad():
            overall.append(evaluate(net, x, y).cross_entropy + float(penalty(net)))
    return torch.tensor(overall, dtype=torch.float64)


def operations(net: VGG, x: torch.Tensor, points: int) -> float:
    """Multiply-adds of our way: the first layer at the ends only, nine products for sixteen on 2 x
    2 maps."""
    small = small_maps(net, x)
    first, *others = products(net, x)
    once = sum(
        count * (9 / 16 if layer in small and pays(net.joint(layer), *small[layer]) else 1)
        for layer, count in enumerate(others, start=2)
    )
    return len(x) * (2 * first + points * once)


def run(threads: int, rounds: int) -> tuple[list[Row], dict[str, object]]:
    """The table and, as facts, how far the curves lie apart."""
    torch.set_num_threads(threads)
    rows: list[Row] = []
    facts: dict[str, object] = {}
    for name, design in CASES.items():
        points = POINTS if name == "quick net" else 11
        generator = torch.Generator().manual_seed(0)
        nets = [initialise(VGG(design), generator=s) for s in (0, 1)]
        x = torch.randn(IMAGES, design.channels, design.side, design.side, generator=generator)
        y = torch.randint(0, 10, (IMAGES,), generator=generator)

        def ours(amount: int, case=(*nets, x, y), points=points) -> torch.Tensor:
            return weight_path(*case, gammas=points, threads=threads).overall

        def theirs(amount: int, case=(*nets, x, y), points=points) -> torch.Tensor:
            return rival(*case, points)

        difference = float((ours(1) / theirs(1) - 1).abs().max())
        facts[f"{name}: largest relative difference of the curves"] = difference
        assert difference < 1e-4, "float32 nets must agree up to rounding"
        times = interleave({"ours": Contender(ours, 1), RIVAL: Contender(theirs, 1)}, rounds)
        target = TARGET if name == "quick net" else None
        rows += compare(
            f"{name}, {points} points",
            times,
            "ours",
            {RIVAL: target},
            operations(nets[0], x, points),
        )
    return rows, facts
