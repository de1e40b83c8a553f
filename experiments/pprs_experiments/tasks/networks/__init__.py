"""Networks of the tasks: chains of pieces, which a pipeline cuts."""

from pprs_experiments.tasks.networks.convolutional import convolutional_network
from pprs_experiments.tasks.networks.head import with_new_head
from pprs_experiments.tasks.networks.residual import residual_network
from pprs_experiments.tasks.networks.transformer import image_transformer

__all__ = ["convolutional_network", "image_transformer", "residual_network", "with_new_head"]
