"""Checkpoints of a run: atomic, sharded, checked, and never unpickled."""

from pprs.pipeline.checkpoint.checkpoints import Checkpoints
from pprs.pipeline.checkpoint.collectives import CheckpointError, check_plain
from pprs.pipeline.checkpoint.directory import newest
from pprs.pipeline.checkpoint.named_optimizer_state import (
    belongs_to,
    kind_of,
    load_optimizer_state,
    optimizer_state,
)
from pprs.pipeline.checkpoint.runs import resume_run, save_run
from pprs.pipeline.checkpoint.storage import check_fits, read_manifest

__all__ = [
    "CheckpointError",
    "Checkpoints",
    "belongs_to",
    "check_fits",
    "check_plain",
    "kind_of",
    "load_optimizer_state",
    "newest",
    "optimizer_state",
    "read_manifest",
    "resume_run",
    "save_run",
]
