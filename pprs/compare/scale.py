"""The standardisation of pixels to mean 0 and variance 1."""

from __future__ import annotations

from typing import Self

from torch import Tensor, nn

from pprs.compare.examples import Examples


class Scale(nn.Module):
    """Pixels from 0 to 1 become `(pixel - mean) / deviation`, each channel its own way.

    `nn.Sequential(scale, network)` takes pixels, as attacks of other packages want it.

    Args:
        mean: shape `(c, 1, 1)`.
        deviation: shape `(c, 1, 1)`, above 0.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    @classmethod
    def of(cls, images: Tensor) -> Self:
        """The scale by which images `(n, c, h, w)` have mean 0 and variance 1.

        Raises:
            ValueError: if all pixels of a channel are alike.
        """
        channels = images.transpose(0, 1).flatten(1)
        mean, deviation = channels.mean(1), channels.std(1)
        if not (deviation > 0).all():
            raise ValueError(
                "images to standardise by must not have a channel in which all pixels are alike: "
                f"got standard deviations {deviation.tolist()}"
            )
        return cls(mean[:, None, None], deviation[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        """Standardised images `(n, c, h, w)`, of pixels from 0 to 1."""
        return (pixels - self.mean) / self.deviation

    def applied(self, examples: Examples) -> Examples:
        """Examples with standardised images."""
        return Examples(self.forward(examples.x), examples.y, examples.classes)
