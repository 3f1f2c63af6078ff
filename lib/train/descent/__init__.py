"""Full-batch training of many small nets at once: one front, kernels for CPU and GPU, and a torch
reference of the same results."""

from lib.train.descent.front import descend
from lib.train.descent.trajectory import Diverged, Trajectory, record_steps

__all__ = [
    "Diverged",
    "Trajectory",
    "descend",
    "record_steps",
]
