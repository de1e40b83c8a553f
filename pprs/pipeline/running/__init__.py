"""The processes of a run: how they start, and how they end."""

from pprs.pipeline.running.launch import LaunchError, LaunchInterrupted, device, joined, launch

__all__ = ["LaunchError", "LaunchInterrupted", "device", "joined", "launch"]
