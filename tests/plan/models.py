"""Small models that processes can build."""

import torch
import torch.nn.functional as F
from torch import nn

from pprs.plan.measure import Subject
from pprs.plan.subject import perturbation


class Tied(nn.Module):
    """Two layers that share their weights, with one between that works in place."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.middle = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 6), nn.ReLU(inplace=True))
        self.last = self.first

    def forward(self, x):
        return self.last(self.middle(self.first(x)))


def subject(kind, samples=4, batch=4):
    torch.manual_seed(0)
    x, y = torch.randn(batch, 6), torch.arange(batch) % 3
    if kind == "tied":
        model = Tied()
    else:
        model = nn.Sequential(nn.Linear(6, 10), nn.ReLU(inplace=True), nn.Linear(10, 3))
    law = perturbation(None if kind != "none" else 0.1, samples)
    return Subject(model, F.cross_entropy, (x,), y, (x,), law)
