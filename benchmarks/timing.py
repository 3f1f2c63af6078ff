"""Timing contenders side by side: every round times each of them once, in rotating order, so all
meet the same noise.

A ratio is the median over the rounds of (rival's time / our time) within the round; its spread is
the middle half."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np


class Unavailable(RuntimeError):
    """This machine lacks what a benchmark needs; the message says what. The others still run."""


@dataclass(frozen=True)
class Contender:
    """One way to do the work: `run(amount)` does that much of it.

    Args:
        run: does `amount` units of work (steps, say).
        amount: how much to do each time; enough to last some tens of milliseconds.
        share: the fraction of the whole work that `run` does a unit (1 net of 200: 1 / 200), to
            scale its time.
    """

    run: Callable[[int], object]
    amount: int
    share: float = 1.0


@dataclass(frozen=True)
class Row:
    """One line of a table: seconds a unit of work, ours and the rival's, and how many times faster
    we are.

    `operations` are the multiply-adds in float32 that our way needs for a unit; 0 where nobody
    counted them. `rounds` are the seconds of ours and of the rival in every round."""

    name: str
    rival_name: str
    ours: float
    rival: float
    ratio: float
    spread: tuple[float, float]
    target: float | None = None
    operations: float = 0.0
    rounds: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())


def interleave(contenders: Mapping[str, Contender], rounds: int) -> dict[str, np.ndarray]:
    """Seconds a unit of work, (rounds,) for every contender; one untimed round comes first."""
    names = list(contenders)
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            contender = contenders[name]
            start = time.perf_counter()
            contender.run(contender.amount)
            if turn > 0:
                times[name].append(
                    (time.perf_counter() - start) / contender.amount / contender.share
                )
    return {name: np.array(taken) for name, taken in times.items()}


def compare(
    name: str,
    times: Mapping[str, np.ndarray],
    ours: str,
    targets: Mapping[str, float | None],
    operations: float = 0.0,
) -> list[Row]:
    """One row for every rival in `targets`, whose values are the ratios to reach."""
    rows = []
    for rival, target in targets.items():
        low, middle, high = np.quantile(times[rival] / times[ours], (0.25, 0.5, 0.75))
        mine, its = (float(np.median(times[who])) for who in (ours, rival))
        spread = (float(low), float(high))
        rounds = (tuple(times[ours].tolist()), tuple(times[rival].tolist()))
        rows.append(Row(name, rival, mine, its, float(middle), spread, target, operations, rounds))
    return rows


def table(rows: Sequence[Row]) -> str:
    """The rows as text."""
    lines = [
        f"{'problem':34} {'rival':34} {'ours':>10} {'rival':>10} {'ratio':>8}   {'middle half':17}"  # noqa: ISC004
        " target"
    ]
    for row in rows:
        target = (
            ""
            if row.target is None
            else f">= {row.target:g} {'met' if row.ratio >= row.target else 'MISSED'}"
        )
        spread = f"{row.spread[0]:.3g} to {row.spread[1]:.3g}"
        lines.append(
            f"{row.name:34} {row.rival_name:34} {seconds(row.ours):>10} {seconds(row.rival):>10}"
            f" {row.ratio:8.3g}   {spread:17} {target}"
        )
    return "\n".join(lines)


def listing(facts: Mapping[str, object]) -> str:
    """Other measured facts, one a line."""
    shown = {
        name: f"{fact:.4g}" if isinstance(fact, float) else str(fact)
        for name, fact in facts.items()
    }
    return "\n".join(f"{name}: {fact}" for name, fact in shown.items())


def seconds(t: float) -> str:
    """A time in the unit that suits it.

    >>> seconds(1.24e-5)
    '12.4 us'
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if t >= size:
            return f"{t / size:.3g} {unit}"
    return f"{t / 1e-9:.3g} ns"


def write(
    folder: Path,
    name: str,
    rows: Sequence[Row],
    facts: Mapping[str, object],
    threads: int,
    rounds: int,
) -> Path:
    """Write folder/<name>.json: rows, facts and the environment."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    content: dict[str, object] = {
        "unit": "seconds a unit of work",
        "rows": [asdict(row) for row in rows],
    }
    content["facts"] = dict(facts)
    content["environment"] = environment() | {"threads": threads, "rounds": rounds}
    content["environment"]["multiply-adds a second"] = matmul_pace()
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def matmul_pace(size: int = 1024) -> float:
    """Multiply-adds a second of a large matrix product in float32, on the threads that torch has:
    the roof."""
    import torch

    a = torch.ones(size, size)
    times = interleave({"product": Contender(lambda amount: [a @ a for _ in range(amount)], 5)}, 9)[
        "product"
    ]
    return float(size**3 / np.median(times))


def peak_mib(setup: str, call: str) -> float | None:
    """MiB by which the memory of a fresh process grows, at most, while it runs `call` after
    `setup`; Linux only.

    Args:
        setup, call: Python code; `call` runs twice, and only the second time counts, when all is
            compiled.
    """
    if not Path("/proc/self/clear_refs").exists():
        return None
    code = f"""
import gc, re
from pathlib import Path
{setup}
{call}
gc.collect()
Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
now = lambda name: int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
before = now("VmRSS")
{call}
print((now("VmHWM") - before) / 1024)
"""  # noqa: E501
    here = Path(__file__).parent.parent
    # glibc returns what is freed at once, or the second call would be served from what the first
    # one left
    returned = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    command, settings = [sys.executable, "-c", code], os.environ | returned
    done = subprocess.run(
        command, env=settings, capture_output=True, text=True, cwd=here, check=True
    )
    return round(float(done.stdout), 1)


def environment() -> dict[str, object]:
    """What the numbers depend on."""
    out: dict[str, object] = {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": platform.system().lower(),
    }
    out["python"] = platform.python_version()
    for package in ("numpy", "numba", "llvmlite", "torch", "jax"):
        try:
            out[package] = version(package)
        except PackageNotFoundError:
            out[package] = None
    out["load"] = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    here, ask = Path(__file__).parent, ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(ask, capture_output=True, text=True, cwd=here)
    out["commit"] = commit.stdout.strip() or None
    out["date"] = time.strftime("%Y-%m-%d")
    return out


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)  # noqa: PLW1514
    names = {key.strip(): value.strip() for key, value in fields.items()}
    flags = names.get("flags", "").split()
    vectors = next((name for name in ("avx512f", "avx2", "avx", "sse2") if name in flags), "")
    return (
        f"{names.get('model name', platform.machine())}, {names.get('cpu MHz', '?')} MHz, {vectors}"
    )
