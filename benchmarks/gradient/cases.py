"""The networks whose smoothed gradients are timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CaseName: TypeAlias = Literal[
    "mlp-1024", "mlp-2048", "mlp-1024-one", "transformer", "resnet", "small-4", "small-20"
]


@dataclass(frozen=True)
class Case:
    """A network, a batch, and how many perturbations of it a step takes.

    Args:
        label: what tables call it.
        network: builds it.
        example: shape of one example.
        batch: examples m.
        samples: perturbations K.
        bars: the highest ratio to a plain pass with shared noise and with noise per example, and
            the least number of times faster than the literal loop, if there are any.
        autocast: the type that torch computes products in, if not the parameters'.
    """

    label: str
    network: Callable[[], nn.Module]
    example: tuple[int, ...]
    batch: int
    samples: int
    bars: tuple[float | None, float | None, float | None] = (None, None, None)
    autocast: torch.dtype | None = None

    def data(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Inputs and targets."""
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(self.batch, *self.example, generator=generator)
        return x.to(device), (torch.arange(self.batch) % 10).to(device)


def loss(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy."""
    return F.cross_entropy(network(x), y)


def mlp(*widths: int) -> nn.Sequential:
    """A ReLU network."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Transformer(nn.Module):
    """Four encoder layers of width 512 on sequences of vectors, and a linear classifier."""

    def __init__(self, width: int = 512, layers: int = 4) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 8, 4 * width, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.classifier = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Scores `(m, 10)` of sequences `(m, length, width)`."""
        scores: Tensor = self.classifier(self.encoder(x).mean(1))
        return scores


class Block(nn.Module):
    """Two convolutions beside a shortcut, as in ResNet-18, with group normalisation."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.GroupNorm(8, outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.GroupNorm(8, outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            convolution = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.GroupNorm(8, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Features, with `stride` times fewer rows and columns."""
        return F.relu(self.body(x) + self.shortcut(x))


def resnet(width: int = 16) -> nn.Sequential:
    """ResNet-18 for 32×32 images with group normalisation and `width` channels to begin with."""
    widths = [width, 2 * width, 4 * width, 8 * width]
    stem = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.GroupNorm(8, width), nn.ReLU()]
    blocks = []
    for inputs, outputs in zip([width, *widths], widths, strict=False):
        blocks += [
            Block(inputs, outputs, 1 if inputs == outputs else 2),
            Block(outputs, outputs, 1),
        ]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 10)]
    return nn.Sequential(*stem, *blocks, *head)


CASES: Mapping[CaseName, Case] = {
    "mlp-1024": Case(
        "MLP 784-1024×3-10, m 8, K 32",
        lambda: mlp(784, 1024, 1024, 1024, 10),
        (784,),
        8,
        32,
        (1.1, 1.1, 25),
    ),
    "mlp-2048": Case(
        "MLP 784-2048×3-10, m 5, K 64",
        lambda: mlp(784, 2048, 2048, 2048, 10),
        (784,),
        5,
        64,
        (1.06, 1.06, 50),
    ),
    "mlp-1024-one": Case(
        "MLP 784-1024×3-10, m 1, K 64",
        lambda: mlp(784, 1024, 1024, 1024, 10),
        (784,),
        1,
        64,
        (1.2, 1.2, 25),
    ),
    "transformer": Case(
        "transformer encoder, 4 layers, width 512, 64 tokens, m 2, K 16",
        Transformer,
        (64, 512),
        2,
        16,
        (1.35, 1.35, 4),
    ),
    "resnet": Case(
        "GroupNorm ResNet-18, 16 to 128 channels, 32×32, m 8, K 16",
        resnet,
        (3, 32, 32),
        8,
        16,
        (1.35, 1.35, 2),
    ),
    # Small ones, of which nearly all is what a pass takes whatever its size.
    "small-4": Case("4 layers of width 32, m 1, K 8", lambda: mlp(32, 32, 32, 32, 10), (32,), 1, 8),
    "small-20": Case(
        "20 layers of width 32, m 5, K 10", lambda: mlp(64, *[32] * 19, 10), (64,), 5, 10
    ),
}
