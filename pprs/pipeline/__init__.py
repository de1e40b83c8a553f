"""Where it runs: a network cut into stages over several processes."""

from typing import TYPE_CHECKING

from pprs._renamed import renamed
from pprs.pipeline.checkpoint import (
    CheckpointError,
    Checkpoints,
    belongs_to,
    load_optimizer_state,
    optimizer_state,
    resume_run,
    save_run,
)
from pprs.pipeline.launcher import (
    LaunchError,
    LaunchInterrupted,
    Stopping,
    check_same,
    check_world,
    device,
    joined,
    launch,
    restarts,
)
from pprs.pipeline.mesh import Mesh
from pprs.pipeline.microbatches import Microbatches, Split
from pprs.pipeline.partitioner import (
    Balance,
    Chain,
    Cost,
    Memory,
    chain,
    cut_chain,
    full_names,
    measure,
    partition,
    partition_at,
    trace_graph,
)
from pprs.pipeline.pipeline import Pipeline
from pprs.pipeline.schedule import ScheduleName, stages_each
from pprs.pipeline.selfcheck import UnlikeError
from pprs.smoothing import NotFiniteError

__all__ = [
    "Balance",
    "Chain",
    "CheckpointError",
    "Checkpoints",
    "Cost",
    "LaunchError",
    "LaunchInterrupted",
    "Memory",
    "Mesh",
    "Microbatches",
    "NotFiniteError",
    "Pipeline",
    "ScheduleName",
    "Split",
    "Stopping",
    "UnlikeError",
    "belongs_to",
    "chain",
    "check_same",
    "check_world",
    "cut_chain",
    "device",
    "full_names",
    "joined",
    "launch",
    "load_optimizer_state",
    "measure",
    "optimizer_state",
    "partition",
    "partition_at",
    "restarts",
    "resume_run",
    "save_run",
    "stages_each",
    "trace_graph",
]

if not TYPE_CHECKING:  # which would take any name for one of these
    __getattr__ = renamed(__name__, {"Grid": "Mesh"})
