"""Linear least squares of one layer, the joint, from Gram matrices of its unfolded inputs: what
grafting and mixing share."""

from lib.joint.geometry import Geometry
from lib.joint.least_squares import solve
from lib.joint.normal import NormalEquations

__all__ = ["Geometry", "NormalEquations", "solve"]
