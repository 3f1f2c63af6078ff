"""What chapter 04 measures: sweeps of grafts with their controls, joints two ways, features behind
the joint."""

from experiments.grafting.features import MEASURES, channel_means, fading, likeness
from experiments.grafting.joints import compare_joints
from experiments.grafting.nets import Training, accuracies, partner_width
from experiments.grafting.stages import Stage
from experiments.grafting.sweeps import Bench

__all__ = [
    "MEASURES",
    "Bench",
    "Stage",
    "Training",
    "accuracies",
    "channel_means",
    "compare_joints",
    "fading",
    "likeness",
    "partner_width",
]
