"""The main job of the command line: should you smooth? Methods compared at equal budgets."""

from pprs.compare.config import CompareConfig
from pprs.compare.experiment import compare
from pprs.training import Interrupted

__all__ = ["CompareConfig", "Interrupted", "compare"]
