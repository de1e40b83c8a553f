"""The tasks of the study: settings that draw a problem for every seed."""

from pprs_experiments.study.tasks.adversarial import AdversarialTask
from pprs_experiments.study.tasks.few_shot import FewShotTask
from pprs_experiments.study.tasks.fine_tuning import FineTuningTask

__all__ = ["AdversarialTask", "FewShotTask", "FineTuningTask"]
