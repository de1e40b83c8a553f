"""Networks that the command line knows: chains of pieces, which a pipeline cuts."""

from pprs.tasks.networks.convolutional import convolutional_network
from pprs.tasks.networks.head import with_new_head
from pprs.tasks.networks.relu import relu_network
from pprs.tasks.networks.transformer import image_transformer

__all__ = ["convolutional_network", "image_transformer", "relu_network", "with_new_head"]
