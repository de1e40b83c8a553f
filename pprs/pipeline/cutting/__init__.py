"""How a model becomes stages: pieces in a row, what each costs, and where to cut."""

from pprs.pipeline.cutting.chain import Chain, chain, full_names, ties
from pprs.pipeline.cutting.costs import Cost, measure
from pprs.pipeline.cutting.partition import Memory, partition, partition_at
from pprs.pipeline.cutting.tracing import trace_graph

__all__ = [
    "Chain",
    "Cost",
    "Memory",
    "chain",
    "full_names",
    "measure",
    "partition",
    "partition_at",
    "ties",
    "trace_graph",
]
