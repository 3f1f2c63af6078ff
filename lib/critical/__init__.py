"""Critical points: found in slow windows, polished to rounding, and told apart modulo symmetry."""

from lib.critical.clustering import Cluster, cluster
from lib.critical.planted import plant
from lib.critical.polishing import CriticalPoint, polish
from lib.critical.windows import SlowIterates, Window, slow_windows, smallest_gradient_iterates

__all__ = [
    "Cluster",
    "CriticalPoint",
    "SlowIterates",
    "Window",
    "canonical",
    "cluster",
    "plant",
    "polish",
    "slow_windows",
    "smallest_gradient_iterates",
]
