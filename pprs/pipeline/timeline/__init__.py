"""Where the time of a pipeline's steps goes: recorded, compared with the ideal, drawn."""

from pprs.pipeline.timeline.gantt import draw
from pprs.pipeline.timeline.recorder import Recorder, TimedStage, gather
from pprs.pipeline.timeline.shares import Share, Shares, StageShare, shares
from pprs.pipeline.timeline.timeline import Event, Timeline

__all__ = [
    "Event",
    "Recorder",
    "Share",
    "Shares",
    "StageShare",
    "TimedStage",
    "Timeline",
    "draw",
    "gather",
    "shares",
]
