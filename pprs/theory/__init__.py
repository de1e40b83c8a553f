"""Why it works: the unit-time pipeline model and its limits. No deep-learning code in here."""

from pprs.theory.graph import Graph, Node
from pprs.theory.makespan import pipeline_time

__all__ = ["Graph", "Node", "pipeline_time"]
