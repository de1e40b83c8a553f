"""The network that is attacked: an AlexNet for images of 32×32 pixels, trained once."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pprs.compare.examples import Examples
from pprs.compare.initial_weights import drawn
from pprs.io.files import writing

EPOCHS = 12
_BATCH = 128
_LR, _DECAY = 2e-3, 1e-3


class Centred(nn.Module):
    """Pixels from 0 to 1, to about mean 0 and variance 1."""

    def forward(self, images: Tensor) -> Tensor:
        """The pixels."""
        return (images - 0.5) / 0.25


def alexnet(generator: torch.Generator) -> nn.Sequential:
    """AlexNet's five convolutions, three poolings and three linear layers, narrow, for 32×32."""

    def build() -> nn.Sequential:
        return nn.Sequential(
            Centred(),
            *(nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(64, 96, 3, 1, 1), nn.ReLU()),
            *(nn.Conv2d(96, 64, 3, 1, 1), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
            *(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)),
        )

    return drawn(build, generator, torch.float32, follows="relu")


def frozen(model: nn.Sequential) -> nn.Sequential:
    """A network whose parameters stay, in the memory format that is fastest on a CPU."""
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def trained(file: Path, train: Examples, test: Examples, seed: int) -> tuple[nn.Sequential, float]:
    """The network of a file; where it is not there, train one and write it.

    Returns:
        It, and the part of the test images that it classifies correctly.

    Raises:
        ValueError: if the file cannot be written.
    """
    generator = torch.Generator().manual_seed(seed)
    model = alexnet(generator)
    if file.exists():
        kept = torch.load(file, weights_only=True)
        model.load_state_dict(kept["weights"])
        return frozen(model), kept["accuracy"]
    fit(model, train, generator)
    accuracy = float((logits(frozen(model), test.x).argmax(1) == test.y).double().mean())
    with writing(file):
        torch.save({"weights": model.state_dict(), "accuracy": accuracy}, file)
    return model, accuracy


def fit(
    model: nn.Module, examples: Examples, generator: torch.Generator, epochs: int = EPOCHS
) -> None:
    """Train by AdamW with one cycle of the step size, on images that are mirrored and shifted."""
    steps = epochs * (len(examples) // _BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), _LR, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LR, total_steps=steps)
    for step in range(steps):
        part = step % (len(examples) // _BATCH)
        if part == 0:
            order = torch.randperm(len(examples), generator=generator)
        batch = examples[order[part * _BATCH : (part + 1) * _BATCH]]
        loss = F.cross_entropy(model(_moved(batch.x, generator)), batch.y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()


def _moved(images: Tensor, generator: torch.Generator) -> Tensor:
    """All of a batch shifted by the same few pixels, half of the images mirrored."""
    side = images.shape[-1]
    down, right = torch.randint(0, 5, (2,), generator=generator).tolist()
    shifted = F.pad(images, (2, 2, 2, 2))[..., down : down + side, right : right + side]
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirrored[:, None, None, None], shifted.flip(3), shifted)


@torch.no_grad()
def logits(model: nn.Module, images: Tensor) -> Tensor:
    """Of many images, in passes of bounded size."""
    return torch.cat([model(images[i : i + 512]) for i in range(0, len(images), 512)])
