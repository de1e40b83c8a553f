"""Small networks of images, and numbers for them."""

import torch

from pprs_experiments.tasks.networks import convolutional_network, image_transformer

OPTIONS = dict(patch=4, width=16, heads=2, layers=2, outputs=10)


def convolutional(seed=0, shape=(3, 16, 16), depth=6):
    generator = torch.Generator().manual_seed(seed)
    return convolutional_network(shape, 8, 10, depth, generator=generator, dtype=torch.float64)


def transformer(seed=0, shape=(3, 8, 12), **changes):
    generator = torch.Generator().manual_seed(seed)
    return image_transformer(shape, **(OPTIONS | changes), generator=generator, dtype=torch.float64)


def normal(*shape, seed=1):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
