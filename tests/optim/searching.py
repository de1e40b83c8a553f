"""What the tests of searched steps share."""

import torch
import torch.nn.functional as F
from torch import nn

import pprs


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


INPUTS = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])


def loss_of(model):
    return lambda: F.cross_entropy(model(INPUTS), LABELS)


def values(model):
    return [parameter.detach().clone() for parameter in model.parameters()]


def same(one, other):
    return all(torch.equal(p, q) for p, q in zip(one, other, strict=True))


def norm(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors]).norm().item()


def optimizer_of(kind, model):
    if kind == "agd":
        return pprs.AGD(model.parameters(), lr=0.1, momentum="nesterov")
    return torch.optim.RMSprop(model.parameters(), momentum=0.5)
