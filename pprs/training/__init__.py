"""The main job of the command line: methods compared by training at equal pipeline time."""

from pprs.training.config import TrainConfig, read_config
from pprs.training.experiment import train

__all__ = ["TrainConfig", "read_config", "train"]
