"""Why it works: the unit-time pipeline model and its limits. No deep-learning code in here."""

from pprs.theory.makespan import pipeline_time

__all__ = ["pipeline_time"]
