"""Before training: does the pipeline compute what the user's own model computes?"""

from pprs.pipeline.selfcheck.model_check import UnlikeError
from pprs.pipeline.selfcheck.schedule_check import Replicas
from pprs.pipeline.selfcheck.self_check import SelfCheck

__all__ = ["Replicas", "SelfCheck", "UnlikeError"]
