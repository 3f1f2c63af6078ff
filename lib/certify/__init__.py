"""Certified critical points: interval arithmetic proves that they exist and what their inertia
is."""

from lib.certify.boxes import all_zeros
from lib.certify.points import certify_point
from lib.certify.splits import certify_split

__all__ = ["all_zeros", "certify_point", "certify_split"]
