"""Where it runs: a network cut into stages, one process each, on torch.distributed.pipelining."""

from pprs.pipeline.grid import Grid
from pprs.pipeline.launch import LaunchError, LaunchInterrupted, device, joined, launch
from pprs.pipeline.partition import partition
from pprs.pipeline.pipeline import Pipeline
from pprs.pipeline.schedule import (
    ScheduleName,
    check_pairs,
    check_schedule,
    default_microbatches,
    stages_each,
)
from pprs.pipeline.tracing import trace_graph

__all__ = [
    "Grid",
    "LaunchError",
    "LaunchInterrupted",
    "Pipeline",
    "ScheduleName",
    "check_pairs",
    "check_schedule",
    "default_microbatches",
    "device",
    "joined",
    "launch",
    "partition",
    "stages_each",
    "trace_graph",
]
