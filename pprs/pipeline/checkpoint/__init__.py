"""Checkpoints of a run: atomic, sharded, checked, and never unpickled."""

from pprs.pipeline.checkpoint.checkpoints import Checkpoints
from pprs.pipeline.checkpoint.peers import CheckpointError
from pprs.pipeline.checkpoint.runs import resume_run, save_run
from pprs.pipeline.checkpoint.state import belongs_to, load_optimizer_state, optimizer_state

__all__ = [
    "CheckpointError",
    "Checkpoints",
    "belongs_to",
    "load_optimizer_state",
    "optimizer_state",
    "resume_run",
    "save_run",
]
