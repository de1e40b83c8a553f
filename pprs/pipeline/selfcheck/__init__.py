"""Before training: does the pipeline compute what the user's own model computes?"""

from pprs.pipeline.selfcheck.check import SelfCheck
from pprs.pipeline.selfcheck.order import Copies
from pprs.pipeline.selfcheck.whole import UnlikeError

__all__ = ["Copies", "SelfCheck", "UnlikeError"]
