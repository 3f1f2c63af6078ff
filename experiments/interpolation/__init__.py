"""What chapter 05 measures: the convex theorem, descent towards its optimum, and the paths and
mixtures of Fig. 3(b)."""

from experiments.interpolation.convexity import ensemble, random_segments, swapped_path
from experiments.interpolation.descent import descend, sine_problem
from experiments.interpolation.pairs import (
    CODE,
    HE,
    KINDS,
    NORMAL,
    Setting,
    mixed_path,
    score_all,
    train_kinds,
)
from experiments.interpolation.triangle import triangle

__all__ = [
    "CODE",
    "HE",
    "KINDS",
    "NORMAL",
    "Setting",
    "descend",
    "ensemble",
    "mixed_path",
    "random_segments",
    "score_all",
    "sine_problem",
    "swapped_path",
    "train_kinds",
    "triangle",
]
