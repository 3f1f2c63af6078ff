"""Theorem 1 of Gu et al. (2020) in discrete form: a net's loss is convex in (w~, p, u~), and what
follows from it."""

from lib.convex.conversion import from_net, to_net, union
from lib.convex.programme import minimum_at_shares, solve_programme
from lib.convex.space import Point, Space, mix_points
from lib.convex.terms import convex_objective

__all__ = [
    "Point",
    "Space",
    "convex_objective",
    "from_net",
    "minimum_at_shares",
    "mix_points",
    "solve_programme",
    "to_net",
    "union",
]
