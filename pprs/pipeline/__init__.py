"""Where it runs: a network cut into stages, one process each, on torch.distributed.pipelining."""

from pprs.pipeline.launch import LaunchError, LaunchInterrupted, device, joined, launch
from pprs.pipeline.partition import partition
from pprs.pipeline.pipeline import Pipeline
from pprs.pipeline.schedule import (
    ScheduleName,
    check_pairs,
    default_microbatches,
    schedule_class,
)
from pprs.pipeline.tracing import trace_graph

__all__ = [
    "LaunchError",
    "LaunchInterrupted",
    "Pipeline",
    "ScheduleName",
    "check_pairs",
    "default_microbatches",
    "device",
    "joined",
    "launch",
    "partition",
    "schedule_class",
    "trace_graph",
]
