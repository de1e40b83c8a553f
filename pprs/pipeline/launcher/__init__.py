"""The processes of a run: how they start, and how they end."""

from pprs.pipeline.launcher.environment import check_world, device, joined, restarts
from pprs.pipeline.launcher.failure import LaunchError
from pprs.pipeline.launcher.launch import LaunchInterrupted, launch
from pprs.pipeline.launcher.progress import last_progress, report_progress
from pprs.pipeline.launcher.same_settings import check_same
from pprs.pipeline.launcher.stopping import Stopping

__all__ = [
    "LaunchError",
    "LaunchInterrupted",
    "Stopping",
    "check_same",
    "check_world",
    "device",
    "joined",
    "last_progress",
    "launch",
    "report_progress",
    "restarts",
]
