"""Theorem 1 of Gu et al. (2020) in discrete form: a net's loss is convex in (w~, p, u~), and what
follows from it."""

from lib.convex.conversion import chain, from_net, to_net, union
from lib.convex.examples import escaping_mass, swapped_neurons
from lib.convex.jensen import Segment, random_point, segment
from lib.convex.programme import Solution, solve
from lib.convex.space import Point, Space, Stage, mixture
from lib.convex.terms import Terms, objective, output, penalties, perspective, violation
from lib.convex.training import train, value
from lib.convex.two_layer import Optimum, TwoLayer, optimum

__all__ = [
    "Optimum",
    "Point",
    "Segment",
    "Solution",
    "Space",
    "Stage",
    "Terms",
    "TwoLayer",
    "chain",
    "escaping_mass",
    "from_net",
    "mixture",
    "objective",
    "optimum",
    "output",
    "penalties",
    "perspective",
    "random_point",
    "segment",
    "solve",
    "swapped_neurons",
    "to_net",
    "train",
    "union",
    "value",
    "violation",
]
