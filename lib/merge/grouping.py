"""Which vectors point the same way: groups of cosine >= c, and groups of equal rows, in blocks and
without n^2 Python.

"Similarity in the same group is at least 0.9" (Zhang et al. 2021, Sec. 3.2) does not yet say which
groups: cosine similarity is no equivalence relation. Three deterministic readings, all visiting the
vectors in one given order:

- `complete` (the default; the sentence read literally): a vector joins the group whose members ALL
  have cosine >= c with it, the one with the nearest leader if there are several; otherwise it leads
  a new group.
- `leader`: only the group's first vector counts. Fewer groups; two members may be twice the angle
  apart.
- `connected`: connected components of the graph of pairs with cosine >= c; the ends of a chain can
  be orthogonal.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from lib.nets.checks import finite_number

RULES = ("complete", "leader", "connected")
MEMORY = 2 * 2**30  # bytes
Groups = tuple[tuple[int, ...], ...]


def group_directions(
    vectors: Tensor,
    cosine: float = 0.9,
    *,
    order: Tensor | None = None,
    rule: str = "complete",
    block: int = 512,
    memory: int = MEMORY,
) -> Groups:
    """Groups of vectors of cosine similarity <u, v> / (|u| |v|) >= cosine.

    Args:
        vectors: (n, d), none of them zero.
        cosine: threshold in -1..1; compared with a slack of the rounding of a dot product, 4
            sqrt(d) eps.
        order: (n,) the indices in the order of visiting, which decides who leads; default 0..n-1.
        rule: one of `RULES`.
        block: rows of the similarity matrix held at once, at most; fewer where they would not fit
            into memory.
        memory: bytes that the work may take: three copies of the vectors, and at least one row of
            similarities.
    Returns:
        The groups in the order of their leaders, each with its leader first.
    Raises:
        ValueError: a zero or non-finite vector, a cosine outside -1..1, an unknown rule, an order
            that is no permutation, or more vectors than fit into memory (the size needed is named).
    Source: (Zhang et al. 2021, Sec. 3.2 "Reduction of DNN at critical point"); the rules are ours.

    >>> group_directions(torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.1]]), 0.9)
    ((0, 2), (1,))
    """
    n, d = _check(vectors, "vectors")
    if rule not in RULES:
        raise ValueError(f"rule {rule!r} is unknown: expected one of {', '.join(RULES)}")
    if not -1 <= finite_number("cosine", cosine) <= 1:
        raise ValueError(f"cosine is {cosine!r}: expected a number in -1..1")
    if block < 1:
        raise ValueError(f"block is {block}: expected >= 1")
    row = 3 * n * vectors.element_size()  # of similarities: computed, on the CPU, and compared
    block = min(block, max(1, _room(n, d, 3 * vectors.element_size(), row, memory) // max(row, 1)))
    visits = _permutation(order, n)
    v = vectors.detach()[torch.as_tensor(visits, dtype=torch.int64, device=vectors.device)]
    largest = v.abs().amax(1, keepdim=True)
    if not (largest > 0).all():
        raise ValueError(
            f"vector {visits[int((largest == 0).flatten().nonzero()[0])]} is zero: it has no"
            " direction; remove it first"
        )
    v = v / largest  # so that squares neither overflow nor vanish
    v = v / v.norm(dim=1, keepdim=True)
    threshold = cosine - 4 * math.sqrt(d) * torch.finfo(v.dtype).eps
    v = v.float() if v.dtype == torch.bfloat16 else v  # which numpy does not know
    labels, leaders, count = np.full(n, -1), np.zeros(n, dtype=np.int64), 0
    for start in range(0, n, block):
        stop = min(start + block, n)
        similar = (v[start:stop] @ v[:stop].T).cpu().numpy()
        for i in range(start, stop):
            row, before = similar[i - start, :i], labels[:i]
            label = _place(row, before, leaders[:count], threshold, rule)
            if label == count:
                leaders[count], count = i, count + 1
            labels[i] = label
    return _collect(labels, visits)


def _place(
    row: np.ndarray, labels: np.ndarray, leaders: np.ndarray, threshold: float, rule: str
) -> int:
    # The group of a vector, given its similarity to all vectors before it; len(leaders) opens a new
    # group.
    if rule == "connected":
        near = np.unique(labels[row >= threshold])
        if len(near) == 0:
            return len(leaders)
        labels[np.isin(labels, near[1:])] = near[0]  # the vector joins all of these groups into one
        return int(near[0])
    to_leader = row[leaders]
    candidates = np.flatnonzero(to_leader >= threshold)
    if rule == "complete" and len(candidates):
        far = np.bincount(labels[row < threshold], minlength=len(leaders))
        candidates = candidates[far[candidates] == 0]
    return int(candidates[to_leader[candidates].argmax()]) if len(candidates) else len(leaders)


def group_duplicates(
    rows: Tensor, tolerance: float = 0.0, *, order: Tensor | None = None, memory: int = MEMORY
) -> Groups:
    """Groups of rows that equal their group's leader within a tolerance, max_j |u_j - v_j| <=
    tolerance.

    The rows are sorted along one fixed random projection, which equal rows share up to rounding;
    only rows whose projections meet are compared.

    Args:
        rows: (n, d).
        tolerance: >= 0, in the units of the rows; 0 asks for equal bits.
        order: (n,) the indices in the order of visiting; default 0..n-1.
        memory: bytes that the work may take: two copies of the rows in float64.
    Returns:
        The groups in the order of their leaders, each with its leader first.
    Raises:
        ValueError: a non-finite row, a tolerance < 0, an order that is no permutation, or more rows
            than fit into memory.

    >>> group_duplicates(torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 0.0]]))
    ((0, 2), (1,))
    """
    n, d = _check(rows, "rows")
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"tolerance is {tolerance!r}: expected a finite number >= 0")
    _room(n, d, 16, 0, memory)
    visits = _permutation(order, n)
    v = rows.detach()[torch.as_tensor(visits, device=rows.device)].cpu().double()
    p = torch.randn(d, generator=torch.Generator().manual_seed(0), dtype=v.dtype)
    p = p / p.abs().sum().clamp_min(torch.finfo(p.dtype).tiny)  # then |<p, u - v>| <= max |u - v|
    projected, by_projection = (v @ p).sort()
    rounding = 2 * d * torch.finfo(v.dtype).eps * float(v.abs().max()) if v.numel() else 0.0
    starts = [0, *((projected.diff() > tolerance + rounding).nonzero().flatten() + 1).tolist(), n]
    labels = np.arange(n)
    for low, high in zip(starts[:-1], starts[1:], strict=True):
        if high - low == 1:
            continue
        cell = by_projection[low:high].sort().values
        leaders: list[int] = []
        for i in cell.tolist():
            distance = (
                (v[leaders] - v[i]).abs().amax(1) if leaders and d else torch.zeros(len(leaders))
            )
            if len(leaders) and distance.min() <= tolerance:
                labels[i] = leaders[int(distance.argmin())]
            else:
                leaders.append(i)
    return _collect(labels, visits)


def _collect(labels: np.ndarray, visits: list[int]) -> Groups:
    members: dict[int, list[int]] = {}
    for place, label in enumerate(labels.tolist()):
        members.setdefault(label, []).append(visits[place])
    return tuple(tuple(m) for m in members.values())


def _room(n: int, d: int, copies: int, least: int, memory: int) -> int:
    """Bytes of memory left beside `copies` bytes for each number and 200 for each vector's place
    and group."""
    held = n * (d * copies + 200)
    if held + least > memory:
        raise ValueError(
            f"grouping {n:,} vectors of {d} numbers needs {(held + least) / 2**30:.3g} GiB: memory"
            f" allows {memory / 2**30:.3g}; pass fewer vectors or more memory"
        )
    return memory - held


def _permutation(order: Tensor | None, n: int) -> list[int]:
    visits = list(range(n)) if order is None else [int(i) for i in order]
    if sorted(visits) != list(range(n)):
        raise ValueError(f"order has {len(visits)} entries: expected every index 0..{n - 1} once")
    return visits


def _check(matrix: Tensor, name: str) -> torch.Size:
    if not isinstance(matrix, Tensor) or matrix.dim() != 2 or not matrix.is_floating_point():
        shape = tuple(matrix.shape) if isinstance(matrix, Tensor) else type(matrix).__name__
        raise ValueError(f"{name} are {shape}: expected a floating tensor (n, d)")
    if not matrix.shape[1]:
        raise ValueError(f"{name} are {tuple(matrix.shape)}: expected at least one column")
    if not torch.isfinite(matrix).all():
        raise ValueError(f"{name} hold inf or nan: expected finite numbers")
    return matrix.shape
