"""What chapter 05 measures: the convex theorem, descent towards its optimum, and the paths and
mixtures of Fig. 3(b)."""

from experiments.interpolation import drawing
from experiments.interpolation.convexity import ensemble, random_segments, swapped_path
from experiments.interpolation.descent import descend, sine_problem
from experiments.interpolation.minimum import minimum_path
from experiments.interpolation.pairs import CODE, HE, KINDS, NORMAL, Setting
from experiments.interpolation.scores import (
    bend,
    differences,
    height,
    next_differences,
    relative_height,
    rows,
)
from experiments.interpolation.trials import Data, mixed_curve, pair_trials

__all__ = [
    "CODE",
    "HE",
    "KINDS",
    "NORMAL",
    "Data",
    "Setting",
    "bend",
    "descend",
    "differences",
    "drawing",
    "ensemble",
    "height",
    "minimum_path",
    "mixed_curve",
    "next_differences",
    "pair_trials",
    "random_segments",
    "relative_height",
    "rows",
    "sine_problem",
    "swapped_path",
]
