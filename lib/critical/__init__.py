"""Critical points: found in slow windows, polished to rounding, and told apart modulo symmetry."""

from lib.critical.clustering import cluster
from lib.critical.planted import plant
from lib.critical.polishing import polish
from lib.critical.windows import slow_windows, smallest_gradient_iterates

__all__ = [
    "cluster",
    "plant",
    "polish",
    "slow_windows",
    "smallest_gradient_iterates",
]
