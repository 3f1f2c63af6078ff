"""The kernels where memory is short: a right answer, or an error that says what was lacking."""

from __future__ import annotations

import re
import resource
from collections.abc import Callable
from pathlib import Path

import torch
from faults import forked
from faults.table import Row

from lib.curvature import hessian
from lib.nets import MLP, forward, init
from lib.train.descent import descend

# how an error says that memory is what lacks
LACKS = re.compile(r"MemoryError|can't allocate|[Uu]nable to allocate|memory|GiB|bytes")


def _net(trials: int, width: int) -> tuple[MLP, torch.Tensor, torch.Tensor]:
    x = torch.linspace(-1, 1, 40, dtype=torch.float64)[:, None]
    return init((1, width, 1), "tanh", generator=0, batch=(trials,)), x, torch.tanh(3 * x)


def _descend(trials: int, backend: str = "auto") -> Callable[[], object]:
    def run() -> float:
        net, x, y = _net(trials, 8)
        return float(descend(net, x, y, lr=0.01, steps=20, backend=backend).losses[-1].sum())

    return run


def _hessian(width: int) -> Callable[[], object]:
    def run() -> float:
        net, x, y = _net(1, width)
        return float(hessian(net, x, y).diagonal(dim1=-2, dim2=-1).sum())

    return run


def _forward(trials: int) -> Callable[[], object]:
    def run() -> float:
        net, x, _ = _net(trials, 8)
        return float(forward(net, x).sum())

    return run


CALLS = {
    "descend": (_descend, 50, 400_000),
    "hessian": (_hessian, 8, 8_000),
    "forward": (_forward, 50, 3_000_000),
}


def short(megabytes: tuple[int, ...] = (64, 256)) -> Row:
    """Every kernel with a small and a far too large task, under limits of the address space."""
    tried = right = 0
    note = ""
    for name, (make, small, large) in CALLS.items():
        wanted = make(small)()  # compiled and warmed here, in the parent
        for size in (small, large):
            for room in megabytes:
                limit = _used() + room * 2**20
                ended = forked.call(make(size), limits={resource.RLIMIT_AS: limit})
                same = size == small and ended.value == wanted
                told = bool(ended.error) and LACKS.search(ended.error) is not None
                tried += 1
                right += same or told
                if not (same or told):
                    note = (
                        note or f"{name}({size}) in {room} MB: signal {ended.signal} {ended.error}"
                    )
    what = "the right value, or an error that says how much memory it lacked; no crash"
    return Row("Kernels under a limit of memory", tried, right, what, note[:200])


def _used() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    return pages * resource.getpagesize()
