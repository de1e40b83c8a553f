"""How a model becomes stages: pieces in a row, what each costs, and where to cut."""

from pprs.pipeline.cutting.balance import Balance, cut_chain
from pprs.pipeline.cutting.chain import Chain, chain, full_names
from pprs.pipeline.cutting.costs import Cost, measure
from pprs.pipeline.cutting.partition import Memory, partition, partition_at
from pprs.pipeline.cutting.tracing import trace_graph

__all__ = [
    "Balance",
    "Chain",
    "Cost",
    "Memory",
    "chain",
    "cut_chain",
    "full_names",
    "measure",
    "partition",
    "partition_at",
    "trace_graph",
]
