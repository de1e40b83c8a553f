"""The processes of a run: how they start, and how they end."""

from pprs.pipeline.running.agreement import check_same
from pprs.pipeline.running.environment import check_world, device, joined, restarts
from pprs.pipeline.running.failure import LaunchError
from pprs.pipeline.running.launch import LaunchInterrupted, launch
from pprs.pipeline.running.progress import report, whereabouts
from pprs.pipeline.running.stopping import Stopping

__all__ = [
    "LaunchError",
    "LaunchInterrupted",
    "Stopping",
    "check_same",
    "check_world",
    "device",
    "joined",
    "launch",
    "report",
    "restarts",
    "whereabouts",
]
