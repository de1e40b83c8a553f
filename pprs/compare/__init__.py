"""The main job of the command line: should you smooth? Methods compared at equal budgets."""

from pprs.compare.config import CompareConfig
from pprs.compare.experiment import Interrupted, compare

__all__ = ["CompareConfig", "Interrupted", "compare"]
