"""Models, and what is seen of pipelines of them, for tests of steps."""

import random
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn


class Averaging(nn.Module):
    """Keeps a mean of what it has seen."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        self.mean += x.detach().mean()
        return x


class Dropping(nn.Module):
    """Drops with Python's and numpy's numbers."""

    def forward(self, x):
        if not self.training:
            return x
        return x * (1 + random.random()) if np.random.rand() < 0.5 else x


def tower(layers):
    return nn.Sequential(*(layer for _ in range(layers) for layer in (nn.Linear(4, 4), nn.Tanh())))


class Towers(nn.Module):
    """Two, the second of which gets the input while the first one's result waits."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = tower(8), tower(18), nn.Linear(4, 4)

    def forward(self, x, z):
        return self.head(self.a(x) + self.b(z))


class Sometimes(nn.Module):
    """Uses its second layer where the first number is above 0."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def forward(self, x):
        y = self.layers[0](x)
        return self.layers[1](y) if x[0, 0] > 0 else y


def seeded(*layers):
    torch.manual_seed(0)
    return nn.Sequential(*(layer() for layer in layers))


def linear():
    return nn.Linear(4, 4)


def batch(rows=8):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rows, 4, generator=generator), torch.arange(rows) % 4


def gradients(network_or_pipeline):
    parameters = network_or_pipeline.named_parameters()
    named = parameters.items() if isinstance(parameters, dict) else parameters
    return {n: None if p.grad is None else p.grad.clone() for n, p in named}


def gathered(value):
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, value)
    return {name: item for part in found for name, item in part.items()}


def same(a, b, tolerance=1e-6):
    assert a.keys() == b.keys()
    return all(
        (a[n] is None) == (b[n] is None)
        and (a[n] is None or torch.allclose(a[n], b[n], atol=tolerance))
        for n in a
    )


def right(network, loss, x, y):
    network.zero_grad()
    loss(network(x), y).backward()
    return {n: g for n, g in gradients(network).items() if network.get_parameter(n).requires_grad}


def stepped(pipe, *args, **options):
    pipe.step(*args, **options)
    return gathered(gradients(pipe))


def refused(call):
    try:
        call()
    except (ValueError, RuntimeError) as error:
        return str(error)
    return "nothing"
