"""Train a user's own model on the user's own data through a pipeline: `pprs train`."""

from pprs.training.config import TrainConfig
from pprs.training.ending import Interrupted
from pprs.training.train import train

__all__ = ["Interrupted", "TrainConfig", "train"]
