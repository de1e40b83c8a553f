"""Pipeline Parallel Random Smoothing (Colin, Scaman, dos Santos; NeurIPS 2019)."""

from pprs.optim import AGD, PPRS
from pprs.smoothing import smooth

__all__ = ["AGD", "PPRS", "smooth"]
