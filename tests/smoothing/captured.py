"""A small network, its batches, and gradients by `capture` and by `smooth`."""

import itertools

import torch
from torch import nn

import pprs

FILTERS = pprs.Perturbation.filter(0.05, samples=4)


def mlp(*widths):
    torch.manual_seed(0)
    layers = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def batches(count, m=5, width=16):
    generator = torch.Generator(device="cpu").manual_seed(1)
    for _ in range(count):
        x = torch.randn(m, width, generator=generator, device="cpu")
        yield x.to(torch.get_default_device()), torch.arange(m) % 3


def gradients(model):
    return [None if p.grad is None else p.grad.clone() for p in model.parameters()]


def taken(model, take, *batch):
    model.zero_grad()
    loss = take(*batch)
    return loss, gradients(model)


def by_smooth(model, closure, batch, step, perturbation=FILTERS):
    model.zero_grad()
    loss = pprs.smooth(closure, model, perturbation, batch=batch, seed=3, step=step)
    loss.backward()
    return loss.detach(), gradients(model)


def assert_same(found, expected):
    # The same kernels; on a CUDA device some add in any order.
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
