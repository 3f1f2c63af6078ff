"""What chapter 04 measures: sweeps of grafts with their controls, joints two ways, features behind
the joint."""

from experiments.grafting import drawing
from experiments.grafting.features import MEASURES, channel_means, fading, likeness
from experiments.grafting.joints import compare_joints
from experiments.grafting.nets import Training, accuracies
from experiments.grafting.scores import fall, kept_share, pairs_of, rows, upper_half
from experiments.grafting.stages import Stage
from experiments.grafting.sweeps import Bench
from experiments.grafting.width_law import slopes, width_law

__all__ = [
    "MEASURES",
    "Bench",
    "Stage",
    "Training",
    "accuracies",
    "channel_means",
    "compare_joints",
    "drawing",
    "fading",
    "fall",
    "kept_share",
    "likeness",
    "pairs_of",
    "rows",
    "slopes",
    "upper_half",
    "width_law",
]
