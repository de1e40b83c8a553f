"""Where it runs: a network cut into stages over several processes."""

from pprs.pipeline.cutting import (
    Chain,
    Cost,
    Memory,
    chain,
    full_names,
    measure,
    partition,
    partition_at,
    trace_graph,
)
from pprs.pipeline.grid import Grid
from pprs.pipeline.pipeline import Pipeline
from pprs.pipeline.running import LaunchError, LaunchInterrupted, device, joined, launch
from pprs.pipeline.saving import (
    CheckpointError,
    Checkpoints,
    belongs_to,
    load_optimizer_state,
    optimizer_state,
    resume_run,
    save_run,
)
from pprs.pipeline.schedule import (
    ScheduleName,
    check_pairs,
    check_schedule,
    default_microbatches,
    stages_each,
)

__all__ = [
    "Chain",
    "CheckpointError",
    "Checkpoints",
    "Cost",
    "Grid",
    "LaunchError",
    "LaunchInterrupted",
    "Memory",
    "Pipeline",
    "ScheduleName",
    "belongs_to",
    "chain",
    "check_pairs",
    "check_schedule",
    "default_microbatches",
    "device",
    "full_names",
    "joined",
    "launch",
    "load_optimizer_state",
    "measure",
    "optimizer_state",
    "partition",
    "partition_at",
    "resume_run",
    "save_run",
    "stages_each",
    "trace_graph",
]
