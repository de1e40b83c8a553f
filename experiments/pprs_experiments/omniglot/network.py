"""A small convolutional network, pretrained to tell the characters of background alphabets."""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pprs.compare.initial_weights import drawn
from pprs.io.files import writing
from pprs_experiments.tasks.images.omniglot import Background

EPOCHS, _BATCH, _LR, _DECAY = 20, 64, 2e-3, 1e-2
_FILTERS = 32
_STRIDES = (2, 1, 2, 1, 2, 1, 1, 1, 1)


def network(characters: int, generator: torch.Generator) -> nn.Sequential:
    """A chain of ten pieces: nine convolutions with GroupNorm and ReLU, and a linear head.

    All have 32 filters; the first, third and fifth halve the sides, of which 4 are left. The head
    sees all pixels of that.
    """

    def build() -> nn.Sequential:
        pieces: list[nn.Module] = []
        for number, stride in enumerate(_STRIDES):
            incoming = _FILTERS if number else 1
            convolution = nn.Conv2d(incoming, _FILTERS, 3, stride, padding=1, bias=False)
            pieces.append(nn.Sequential(convolution, nn.GroupNorm(4, _FILTERS), nn.ReLU()))
        return nn.Sequential(
            *pieces, nn.Sequential(nn.Flatten(), nn.Linear(16 * _FILTERS, characters))
        )

    return drawn(build, generator, torch.float32, follows="relu")


def features(model: nn.Sequential, images: Tensor) -> Tensor:
    """What the head sees, shape `(n, 16 * 32)`."""
    with torch.no_grad():
        found: Tensor = model[:-1](images)
    return found.flatten(1)


def pretrained(file: Path, data: Background, seed: int, epochs: int = EPOCHS) -> nn.Sequential:
    """The network of a file; where it is not there, train one and write it.

    Args:
        file: of the weights.
        data: whose characters it is trained to tell.
        seed: of initial weights, the order of images, and how they are moved.
        epochs: how often every image is seen.

    Raises:
        ValueError: if the file cannot be written.
    """
    generator = torch.Generator().manual_seed(seed)
    model = network(int(data.characters.max()) + 1, generator)
    if file.exists():
        model.load_state_dict(torch.load(file, weights_only=True))
        return model
    fit(model, data, generator, epochs)
    with writing(file):
        torch.save(model.state_dict(), file)
    return model


def fit(model: nn.Module, data: Background, generator: torch.Generator, epochs: int) -> None:
    """Train by AdamW with one cycle of the step size, on images that are moved a little."""
    batches = max(1, len(data.images) // _BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), _LR, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LR, total_steps=epochs * batches)
    for _ in range(epochs):
        order = torch.randperm(len(data.images), generator=generator)
        for part in order.tensor_split(batches):
            images = moved(data.images[part], generator)
            loss = F.cross_entropy(model(images), data.characters[part])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()


def moved(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each turned by up to 12 degrees, scaled by up to 12 %, and shifted by up to 2 pixels."""
    turn, size, right, down = 2 * torch.rand(4, len(images), generator=generator) - 1
    angle, scale = turn * math.radians(12), 1 + 0.12 * size
    far = 4 / images.shape[-1]
    rows = [
        torch.stack([scale * angle.cos(), -scale * angle.sin(), far * right], 1),
        torch.stack([scale * angle.sin(), scale * angle.cos(), far * down], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
