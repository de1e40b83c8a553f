"""The main job of the command line: methods compared by training at equal pipeline time."""

from pprs.compare.config import CompareConfig
from pprs.compare.experiment import compare

__all__ = ["CompareConfig", "compare"]
