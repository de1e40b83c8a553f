"""The time of a pipeline's steps: recorded, compared with the ideal, drawn."""

from pprs.pipeline.trace.gantt import draw
from pprs.pipeline.trace.recorder import Recorder, gather
from pprs.pipeline.trace.shares import Share, Shares, StageShare, shares
from pprs.pipeline.trace.timeline import Event, Timeline

__all__ = [
    "Event",
    "Recorder",
    "Share",
    "Shares",
    "StageShare",
    "Timeline",
    "draw",
    "gather",
    "shares",
]
