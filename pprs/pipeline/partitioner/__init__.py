"""How a model becomes stages: pieces in a row, what each costs, and where to cut."""

from pprs.pipeline.partitioner.chain import Chain, chain, full_names, reused
from pprs.pipeline.partitioner.computation_graph import trace_graph
from pprs.pipeline.partitioner.costs import Cost, measure
from pprs.pipeline.partitioner.partition import Memory, partition, partition_at
from pprs.pipeline.partitioner.where_to_cut import Balance, cut_chain

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
    "reused",
    "trace_graph",
]
