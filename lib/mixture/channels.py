"""Which channels of the given nets a mixture takes over: the draws of Algorithm 2, nested in gamma
unless they are redrawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

SCHEMES = ("replacement", "balanced")


def counts(shares: Sequence[float], width: int) -> tuple[int, ...]:
    """How many of `width` channels each net gives: floor(share * width), and the last net the rest.

    Args:
        shares: one number >= 0 for each net, with sum 1.
        width: channels of the mixture in this layer.
    Raises:
        ValueError: shares that are negative or do not sum to 1.
    Source: the authors' code of (Gu et al. 2020, Alg. 2), for two nets.

    >>> counts((0.3, 0.7), 16)
    (4, 12)
    """
    if (
        len(shares) < 2
        or not all(s >= 0 for s in shares)
        or not math.isclose(sum(shares), 1, abs_tol=1e-6)  # shares may come from float32
    ):
        raise ValueError(
            f"shares are {tuple(shares)}: expected two or more numbers >= 0 with sum 1"
        )
    # the nudge keeps 0.3 * 10 = 3 from being floored to 2 by rounding
    first = [math.floor(s * width + 1e-9) for s in shares[:-1]]
    return (*first, width - sum(first))


def candidates(
    channels: Sequence[int], width: int, scheme: str, generator: torch.Generator
) -> tuple[Tensor, ...]:
    """For every net a list of `width` of its channels; a mixture takes a prefix of each list.

    Every gamma takes prefixes of the same lists, so that neighbouring mixtures share channels and
    their difference is that of gamma, not of the draw.

    Args:
        channels: m_i, the channels of each net.
        scheme: "replacement" (the paper: independent draws) or "balanced" (no channel twice before
            every one once).
        generator: of the draws.
    Returns:
        One int64 tensor (width,) for each net.
    Raises:
        ValueError: unknown scheme.

    >>> candidates((2, 2), 4, "balanced", torch.Generator().manual_seed(0))[0].sort().values
    tensor([0, 0, 1, 1])
    """
    if scheme not in SCHEMES:
        raise ValueError(f"no scheme {scheme!r}: expected {' or '.join(SCHEMES)}")
    lists = []
    for m in channels:
        if scheme == "replacement":
            lists.append(torch.randint(0, m, (width,), generator=generator))
        else:
            rounds = [torch.randperm(m, generator=generator) for _ in range(-(-width // m))]
            lists.append(torch.cat(rounds)[:width])
    return tuple(lists)


def chosen(lists: Sequence[Tensor], channels: Sequence[int], shares: Sequence[float]) -> Tensor:
    """The channels of one mixture, numbered through all nets: net i's channel c is m_1 + .. +
    m_{i-1} + c.

    >>> lists = (torch.tensor([1, 0, 1, 1]), torch.tensor([0, 0, 1, 1]))
    >>> chosen(lists, (2, 2), (0.25, 0.75))
    tensor([1, 2, 2, 3])
    """
    offset, parts = 0, []
    for one, m, k in zip(lists, channels, counts(shares, len(lists[0])), strict=True):
        parts.append(one[:k] + offset)
        offset += m
    return torch.cat(parts)
