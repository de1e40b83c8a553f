"""Convex functions that are not smooth, and whose least value is known."""

from pprs_experiments.tasks.convex.cases import absolute_regression, maximum_of_linear, svm
from pprs_experiments.tasks.convex.libsvm import SvmName, read_svm_examples
from pprs_experiments.tasks.convex.optimum import Optimum
from pprs_experiments.tasks.convex.polyhedral import Aggregate, Polyhedral
from pprs_experiments.tasks.convex.problem import Convex
from pprs_experiments.tasks.convex.worst_case import WorstCase

__all__ = [
    "Aggregate",
    "Convex",
    "Optimum",
    "Polyhedral",
    "SvmName",
    "WorstCase",
    "absolute_regression",
    "maximum_of_linear",
    "read_svm_examples",
    "svm",
]
