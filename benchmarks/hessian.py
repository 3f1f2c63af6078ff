"""Analytic batched Hessians against `vmap(torch.func.hessian)`: at least 5 times faster on 10,000
small nets.

The nets are those of Zhang et al. 2021 (Figs. 3a, 3b and 4) and one with two hidden layers;
float64, squared error. Times are seconds for all nets. `vmap` works in chunks of 1,000 nets, which
is faster on a CPU than all at once and bounds its memory; one chunk is timed, a tenth of the work.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.timing import Contender, Row, compare, interleave, peak_mib
from lib.curvature import hessian
from lib.nets import MLP, flatten, init, risk, unflatten

NETS, CHUNK, TARGET = 10_000, 1_000, 5.0
CASES = [((1, 1, 1), 50), ((1, 3, 1), 50), ((4, 2, 3), 150), ((2, 3, 3, 1), 50)]  # widths, samples
RIVAL = "vmap(torch.func.hessian)"


def problem(widths: tuple[int, ...], n: int) -> tuple[MLP, Tensor, Tensor]:
    """Nets, inputs and targets."""
    g = torch.Generator().manual_seed(0)
    net = init(widths, "tanh", std=0.7, batch=(NETS,), output_bias=False, generator=g)
    x = torch.randn(n, widths[0], generator=g, dtype=torch.float64)
    return net, x, torch.randn(n, widths[-1], generator=g, dtype=torch.float64)


def rival(net: MLP, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    """What one would write without a closed form, for the first chunk of the nets."""
    like, theta = net[0], flatten(net[:CHUNK])
    one = torch.func.hessian(lambda t: risk(unflatten(t, like), x, y))
    return lambda: torch.func.vmap(one)(theta)


def run(threads: int, rounds: int) -> tuple[list[Row], dict[str, object]]:
    """The table and, as facts, how far the two results lie apart, relative to the largest entry."""
    torch.set_num_threads(threads)
    warnings.filterwarnings(
        "ignore", message=".*torch.jit.script.*"
    )  # raised inside torch.func.hessian
    rows: list[Row] = []
    worst = 0.0
    for widths, n in CASES:
        net, x, y = problem(widths, n)
        ours, theirs = hessian(net, x, y), rival(net, x, y)
        expected = theirs()
        worst = max(worst, float((ours[:CHUNK] - expected).abs().max() / expected.abs().max()))
        jobs = {
            "ours": Contender(lambda _, p=(net, x, y): hessian(*p), 1),
            RIVAL: Contender(lambda _, job=theirs: job(), 1, share=CHUNK / NETS),
        }
        name = f"{NETS} nets {'-'.join(map(str, widths))}, {n} samples"
        operations = (
            NETS * n * net.n_parameters * (net.n_parameters + 1)
        )  # half of a symmetric matrix, in float64
        rows += compare(name, interleave(jobs, rounds), "ours", {RIVAL: TARGET}, operations)
    facts: dict[str, object] = {"largest relative difference of the results": worst}
    setup = (
        "import torch; torch.set_num_threads(1)\nfrom benchmarks.hessian import *\np = problem((1,"
        " 3, 1), 50)"
    )
    facts[f"peak MiB of {NETS} nets 1-3-1"] = peak_mib(setup, "h = hessian(*p)")
    size = problem((1, 3, 1), 1)[0].n_parameters
    facts[f"MiB of the {NETS} matrices themselves"] = NETS * size**2 * 8 / 2**20
    return rows, facts
