"""The functions that the lower bounds are proved with, each split along a chain of nodes."""

from pprs.theory.worst_case._convex import SmoothConvex
from pprs.theory.worst_case._largest import LargestCoordinate
from pprs.theory.worst_case._nonconvex import SmoothNonconvex
from pprs.theory.worst_case._nonsmooth import NonSmooth

__all__ = ["LargestCoordinate", "NonSmooth", "SmoothConvex", "SmoothNonconvex"]
