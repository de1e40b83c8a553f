"""A small transformer for images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pprs._arguments import counts
from pprs.compare.initial_weights import Drawn, drawn


def image_transformer(
    shape: tuple[int, int, int],
    patch: int,
    width: int,
    heads: int,
    layers: int,
    outputs: int,
    *,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> nn.Sequential:
    """A chain of `2 layers + 2` pieces: patches, two halves of every layer, and a linear head.

    A layer's halves, attention and a network of one hidden layer, normalise what they take and
    add their result to it. The head takes the mean over the patches. Weights are drawn with
    variance 1 / inputs, biases are zero.

    Args:
        shape: channels, height and width of an image.
        patch: side of the square patches, a divisor of height and width.
        width: features of a patch, a multiple of heads.
        heads: of the attention.
        layers: number of layers, at least 1.
        outputs: output features.
        generator: draws the weights.
        dtype: of the parameters.

    Raises:
        ValueError: for an argument out of its range.
    """
    counts(patch=patch, width=width, heads=heads, layers=layers, outputs=outputs)
    channels, *sides = shape
    if any(side % patch for side in sides):
        raise ValueError(f"patch must divide height and width, {sides}, got {patch}")
    if width % heads:
        raise ValueError(f"width must be a multiple of heads, got {width} and {heads}")
    patches = sides[0] * sides[1] // patch**2

    def build() -> nn.Sequential:
        halves: list[nn.Module] = []
        for _ in range(layers):
            halves.append(Residual(nn.LayerNorm(width), Attention(width, heads)))
            hidden = nn.Sequential(
                nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
            )
            halves.append(Residual(nn.LayerNorm(width), hidden))
        head = nn.Sequential(MeanPatch(), nn.LayerNorm(width), nn.Linear(width, outputs))
        return nn.Sequential(Patches(channels, patch, patches, width), *halves, head)

    return drawn(build, generator, dtype, follows="linear")


class Patches(Drawn):
    """Images `(m, c, h, w)` to features of their patches, `(m, patches, width)`.

    Args:
        channels: c.
        side: of a patch.
        patches: how many an image has.
        width: number of features.
    """

    def __init__(self, channels: int, side: int, patches: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Conv2d(channels, width, side, stride=side)
        self.position = nn.Parameter(torch.empty(patches, width))

    def draw(self, generator: torch.Generator) -> None:
        """Draw what tells the places of patches apart, small against the patches."""
        nn.init.normal_(self.position, std=0.1, generator=generator)

    def forward(self, images: Tensor) -> Tensor:
        """The features."""
        features: Tensor = self.embedding(images).flatten(2).mT + self.position
        return features


class Residual(nn.Module):
    """Adds what a layer makes of normalised features to the features.

    Args:
        norm: normalises them.
        layer: what follows.
    """

    def __init__(self, norm: nn.Module, layer: nn.Module) -> None:
        super().__init__()
        self.norm, self.layer = norm, layer

    def forward(self, features: Tensor) -> Tensor:
        """The sum."""
        added: Tensor = self.layer(self.norm(features))
        return features + added


class Attention(nn.Module):
    """Every patch attends to all patches.

    Args:
        width: number of features.
        heads: a divisor of it.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.read = nn.Linear(width, 3 * width)
        self.write = nn.Linear(width, width)

    def forward(self, features: Tensor) -> Tensor:
        """New features `(m, patches, width)`."""
        examples, patches, width = features.shape
        parts = self.read(features).reshape(examples, patches, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(query, key, value)
        written: Tensor = self.write(attended.transpose(1, 2).flatten(2))
        return written


class MeanPatch(nn.Module):
    """Features `(m, patches, width)` to their means over the patches, `(m, width)`."""

    def forward(self, features: Tensor) -> Tensor:
        """The means."""
        return features.mean(1)
