"""Critical points: found in slow windows, polished to rounding, and told apart modulo symmetry."""

from lib.critical.polish import CriticalPoint, polish

__all__ = ["CriticalPoint", "polish"]
