"""The methods that the study compares: PPRS, its parts, and its rivals."""

from pprs_experiments.study.methods.method import (
    Choice,
    Hyperparameters,
    LogUniform,
    Method,
    Range,
    Stepper,
)
from pprs_experiments.study.methods.registry import METHODS

__all__ = ["METHODS", "Choice", "Hyperparameters", "LogUniform", "Method", "Range", "Stepper"]
