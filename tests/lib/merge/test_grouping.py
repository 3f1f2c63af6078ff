"""Grouping by direction and by equality, against brute force and scipy."""

import itertools
import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from lib.merge.grouping import RULES, group_directions, group_duplicates

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True)


def cosines(vectors: torch.Tensor) -> np.ndarray:
    """Dense cosine matrix in float64 numpy, the oracle's view."""
    v = vectors.double().numpy()
    v = v / np.linalg.norm(v, axis=1, keepdims=True)
    return v @ v.T


def brute_force(similar: np.ndarray, cosine: float, order: list[int], rule: str) -> list[list[int]]:
    """The greedy rules as plain loops."""
    groups: list[list[int]] = []
    for i in order:
        fits = [
            g
            for g in groups
            if all(similar[i, j] >= cosine for j in (g if rule == "complete" else g[:1]))
        ]
        if fits:
            max(fits, key=lambda g: similar[i, g[0]]).append(i)
        else:
            groups.append([i])
    return groups


def clustered(
    seed: int, n: int = 40, d: int = 5, centres: int = 6, noise: float = 0.25
) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    c = torch.randn(centres, d, generator=g, dtype=torch.float64)
    return c[torch.randint(centres, (n,), generator=g)] + noise * torch.randn(
        n, d, generator=g, dtype=torch.float64
    )


@PROPERTY
@given(
    seed=st.integers(0, 10**6),
    cosine=st.sampled_from([-0.5, 0.3, 0.9, 0.99]),
    block=st.sampled_from([1, 7, 512]),
)
def test_greedy_rules_match_brute_force(seed, cosine, block):
    v = clustered(seed)
    order = torch.randperm(len(v), generator=torch.Generator().manual_seed(seed))
    for rule in ("complete", "leader"):
        found = group_directions(v, cosine, order=order, rule=rule, block=block)
        assert [list(g) for g in found] == brute_force(cosines(v), cosine, order.tolist(), rule)


@PROPERTY
@given(
    seed=st.integers(0, 10**6),
    cosine=st.sampled_from([0.3, 0.9, 0.97]),
    block=st.sampled_from([3, 512]),
)
def test_connected_rule_matches_scipy_components(seed, cosine, block):
    v = clustered(seed, d=3)
    count, labels = connected_components(cosines(v) >= cosine, directed=False)
    expected = {frozenset(np.flatnonzero(labels == k).tolist()) for k in range(count)}
    assert {
        frozenset(g) for g in group_directions(v, cosine, rule="connected", block=block)
    } == expected


@pytest.mark.parametrize("rule", RULES)
def test_groups_partition_the_vectors_with_leaders_first(rule):
    v = clustered(3)
    order = torch.arange(len(v) - 1, -1, -1)
    groups = group_directions(v, 0.9, order=order, rule=rule)
    assert sorted(itertools.chain(*groups)) == list(range(len(v)))
    assert all(
        g[0] == max(g) for g in groups
    )  # visited from the last on, so the first visited has the largest index
    assert [g[0] for g in groups] == sorted((g[0] for g in groups), reverse=True)


def test_complete_keeps_the_printed_promise_and_the_others_do_not():
    # Unit vectors every 20 degrees: cos 20 = 0.94, cos 40 = 0.77. Pairs for `complete`; leader 1
    # takes both neighbours; a chain connects all.
    angles = [0, 20, 40, 60]
    v = torch.tensor(
        [[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in angles],
        dtype=torch.float64,
    )
    assert group_directions(v, 0.9) == ((0, 1), (2, 3))
    assert group_directions(v, 0.9, rule="leader", order=torch.tensor([1, 0, 2, 3])) == (
        (1, 0, 2),
        (3,),
    )
    assert group_directions(v, 0.9, rule="connected") == ((0, 1, 2, 3),)


def test_nearest_leader_wins_over_first():
    v = torch.tensor([[1.0, 0.0], [math.cos(0.8), math.sin(0.8)], [math.cos(0.41), math.sin(0.41)]])
    assert group_directions(v, 0.9) == ((0,), (1, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_positive_multiples_share_a_group_at_cosine_one_and_opposites_do_not(dtype, scale):
    v = scale * torch.randn(20, 300, generator=torch.Generator().manual_seed(1), dtype=dtype)
    both = torch.cat([v, 3 * v, -v])
    groups = group_directions(both, 1.0)  # squares of 1e-30 would vanish in float32
    assert len(groups) == 40 and all(
        g in {(i, 20 + i) for i in range(20)} | {(i,) for i in range(40, 60)} for g in groups
    )


@PROPERTY
@given(seed=st.integers(0, 10**6), tolerance=st.sampled_from([0.0, 1e-12, 1e-3]))
def test_duplicates_match_brute_force(seed, tolerance):
    g = torch.Generator().manual_seed(seed)
    base = torch.randn(6, 4, generator=g, dtype=torch.float64)
    rows = base[torch.randint(6, (30,), generator=g)]
    rows = rows + 0.4 * tolerance * (2 * torch.rand(30, 4, generator=g, dtype=torch.float64) - 1)
    groups: list[list[int]] = []
    for i in range(30):
        fits = [m for m in groups if float((rows[i] - rows[m[0]]).abs().max()) <= tolerance]
        (fits[0] if fits else groups.append([]) or groups[-1]).append(i)
    assert [list(m) for m in group_duplicates(rows, tolerance)] == groups


def test_rows_without_entries_are_refused():
    with pytest.raises(ValueError, match="expected at least one column"):
        group_duplicates(torch.zeros(3, 0))


def test_ten_thousand_neurons_in_784_dimensions_in_blocks():
    # The issue asks for 5 s on two cores (benchmarks/grouping.py measures it); this bound only
    # catches an n^2 Python loop.
    g = torch.Generator().manual_seed(0)
    v = torch.randn(58, 784, generator=g)[torch.randint(58, (10_000,), generator=g)]
    v = v * (0.1 + torch.rand(10_000, 1, generator=g)) + 0.02 * torch.randn(
        10_000, 784, generator=g
    )
    start = time.perf_counter()
    groups = group_directions(v, 0.9)
    assert len(groups) == 58
    assert time.perf_counter() - start < 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(2, 2),), "vector 0 is zero"),
        ((torch.ones(2, 2), 1.5), "cosine is 1.5"),
        ((torch.tensor([[math.nan, 1.0]]),), "inf or nan"),
        ((torch.ones(3),), r"\(3,\): expected a floating tensor"),
        ((torch.ones(3, 2, dtype=torch.int64),), "expected a floating tensor"),
        (([[1.0]],), "are list"),
    ],
)
def test_bad_vectors_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        group_directions(*arguments)


def test_bad_options_are_refused():
    v = torch.ones(2, 2)
    with pytest.raises(ValueError, match="rule 'ward' is unknown"):
        group_directions(v, rule="ward")
    with pytest.raises(ValueError, match="block is 0"):
        group_directions(v, block=0)
    with pytest.raises(ValueError, match="order has 2 entries"):
        group_directions(v, order=torch.tensor([0, 0]))
    with pytest.raises(ValueError, match="tolerance is -1"):
        group_duplicates(v, -1)
    with pytest.raises(ValueError, match="order has 1 entries"):
        group_duplicates(v, order=torch.tensor([0]))


def test_little_memory_means_smaller_blocks_and_too_little_is_refused_with_the_size_needed():
    vectors = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    held, row = 60 * (5 * 12 + 200), 3 * 60 * 4
    for rule in RULES:
        assert group_directions(vectors, 0.5, rule=rule, memory=held + row) == group_directions(
            vectors, 0.5, rule=rule
        )
    with pytest.raises(
        ValueError,
        match=r"grouping 60 vectors of 5 numbers needs .* GiB: memory allows .*fewer vectors",
    ):
        group_directions(vectors, 0.5, memory=held + row - 1)
    with pytest.raises(ValueError, match=r"grouping 60 vectors of 5 numbers needs"):
        group_duplicates(vectors, memory=1000)
