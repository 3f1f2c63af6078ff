"""Grouping neurons by direction: 10,000 in 784 dimensions within 5 s and 2 GiB, and against other
ways.

Rivals: agglomerative clustering with complete linkage and cosine distance (scikit-learn), which
holds all n^2 distances, and the literal double loop in Python over a similarity matrix. Both are
timed at sizes that they can do; the latter finds the same groups, the former others, since it
merges groups and does not visit neurons by amplitude. "condensed" neurons scatter around 300
directions, "random" ones share none, so that every neuron leads a group of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.cluster import AgglomerativeClustering
from torch import Tensor

from benchmarks.timing import Contender, Row, compare, interleave
from lib.merge.grouping import RULES, group_directions, group_duplicates

NEURONS, DIMENSIONS, COSINE = 10_000, 784, 0.9
LIMIT_S, LIMIT_MIB = 5.0, 2048
CLUSTERED, LOOPED = 2_000, 500  # sizes of the rivals' problems


def vectors(case: str, n: int) -> Tensor:
    """The vectors of a case, (n, 784) float32."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(n, DIMENSIONS, generator=generator)
    if case == "random":
        return noise
    centres = torch.randn(300, DIMENSIONS, generator=generator)
    return centres[torch.randint(300, (n,), generator=generator)] + 0.25 * noise


def loop(v: Tensor) -> tuple[tuple[int, ...], ...]:
    """The rule `complete` as one would write it first."""
    unit = (v / v.norm(dim=1, keepdim=True)).numpy()
    groups: list[list[int]] = []
    for i, u in enumerate(unit):
        near = [
            (float(u @ unit[g[0]]), -k)
            for k, g in enumerate(groups)
            if all(u @ unit[j] >= COSINE for j in g)
        ]
        if near:
            groups[-max(near)[1]].append(i)
        else:
            groups.append([i])
    return tuple(tuple(g) for g in groups)


def clusters(v: Tensor) -> np.ndarray:
    """Complete linkage in scikit-learn: no two members below the cosine."""
    rule = AgglomerativeClustering(
        n_clusters=None, metric="cosine", linkage="complete", distance_threshold=1 - COSINE
    )
    return rule.fit_predict(v.numpy())


def similarities(v: Tensor) -> None:
    """The cosines of each vector with all before it, in blocks: what no exact rule can do
    without."""
    unit = v / v.norm(dim=1, keepdim=True)
    for start in range(0, len(v), 512):
        torch.matmul(unit[start : start + 512], unit[: start + 512].T)


def cpu_seconds(job: Callable[[int], object]) -> float:
    """Processor time of one run, of all threads together."""
    start = time.process_time()
    job(1)
    return time.process_time() - start


def peak_mib(case: str, threads: int) -> int:
    """Largest resident memory of a fresh process that groups 10,000 neurons, libraries included, in
    MiB."""
    code = (
        "import resource, torch\nfrom benchmarks.grouping import"
        f" *\ntorch.set_num_threads({threads}); v = vectors({case!r}, NEURONS); group_directions(v,"
        " COSINE)\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    return int(done.stdout)


def run(threads: int, rounds: int) -> tuple[list[Row], dict[str, object]]:
    """The rows against the rivals and, as facts, time and memory at 10,000 neurons."""
    torch.set_num_threads(threads)
    rows: list[Row] = []
    facts: dict[str, object] = {}
    for case in ("random", "condensed"):
        for rival, n, job in (
            ("scikit-learn, complete linkage", CLUSTERED, clusters),
            ("double loop in Python", LOOPED, loop),
        ):
            v = vectors(case, n)
            jobs = {
                "ours": Contender(lambda _, v=v: group_directions(v, COSINE), 1),
                rival: Contender(lambda _, v=v, job=job: job(v), 1),
            }
            rows += compare(
                f"{n} {case} neurons",
                interleave(jobs, rounds),
                "ours",
                {rival: None},
                n * (n - 1) / 2 * DIMENSIONS,
            )
        facts[f"{LOOPED} {case} neurons: the loop finds the same groups"] = loop(
            v
        ) == group_directions(v, COSINE)
        v = vectors(case, NEURONS)
        whole = {
            rule: Contender(lambda _, v=v, rule=rule: group_directions(v, COSINE, rule=rule), 1)
            for rule in RULES
        }
        whole["duplicates"] = Contender(lambda _, v=v: group_duplicates(v, 1e-6), 1)
        for rule, times in interleave(whole, max(5, rounds // 5)).items():
            facts[f"{NEURONS} {case} neurons, {rule}: seconds"] = float(np.median(times))
            facts[f"{NEURONS} {case} neurons, {rule}: rounds"] = times.tolist()
        work = {name: cpu_seconds(contender.run) for name, contender in whole.items()}
        facts |= {
            f"{NEURONS} {case} neurons, {name}: CPU seconds, all threads": taken
            for name, taken in work.items()
        }
        facts[f"{NEURONS} {case} neurons: similarities alone (the limit), CPU seconds"] = (
            cpu_seconds(lambda _, v=v: similarities(v))
        )
        # CPU time, as the wall time of a machine that others use is theirs; fewer than 5 s on one
        # core are fewer on two
        facts[f"{NEURONS} {case} neurons: within {LIMIT_S:g} s"] = max(work.values()) <= LIMIT_S
        facts[f"{NEURONS} {case} neurons: peak of a fresh process, MiB"] = memory = peak_mib(
            case, threads
        )
        facts[f"{NEURONS} {case} neurons: within {LIMIT_MIB} MiB"] = memory <= LIMIT_MIB
    return rows, facts
