r"""What is minimised: hinges of the network's outputs, and the largest change of a pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pprs.compare.examples import Examples
from pprs_experiments.attack.network import logits

WEIGHT = 300.0
"""$\\lambda$, of the norm."""
_ROWS = 512  # of a pass through the network


def hinges(outputs: Tensor, target: int) -> Tensor:
    r"""$\sum_{i \ne y} \max(0, 1 - z_y + z_i)$ of outputs z, shape `(n, classes)`."""
    each = (1 - outputs[:, target, None] + outputs).clamp(min=0)
    return each.sum(1) - 1  # i = y gives 1


def objective(model: nn.Module, images: Tensor, originals: Tensor, target: int) -> Tensor:
    r"""$\sum_{i \ne y} \max(0, 1 - z_y + z_i) + 300 \|\tilde x - x\|_\infty$.

    Args:
        model: images `(n, 3, h, w)` to outputs z, `(n, classes)`.
        images: $\tilde x$, with pixels in units of the range from black to white, not clipped.
        originals: x.
        target: y, the class that the images shall be taken for.

    Returns:
        Shape `(n,)`.
    """
    distance = (images - originals).abs().flatten(1).amax(1)
    return hinges(model(images), target) + WEIGHT * distance


@dataclass(frozen=True)
class Attack:
    """Several images that shall be taken for another class, attacked one by one.

    Args:
        model: frozen; one image's outputs do not depend on the others.
        originals: shape `(b, 3, h, w)`.
        target: the class.
    """

    model: nn.Module
    originals: Tensor
    target: int

    @property
    def start(self) -> Tensor:
        """Where all methods start: at the images, shape `(b, d)`."""
        return self.originals.flatten(1)

    @torch.no_grad()
    def losses(self, points: Tensor) -> Tensor:
        """Of points `(lanes, b, d)`, shape `(lanes, b)`; infinite where they are not finite."""
        values = self._by_parts(
            points[:, :, None], lambda x, o: objective(self.model, x, o, self.target)
        )
        return values[..., 0].nan_to_num(nan=torch.inf, posinf=torch.inf)

    @torch.no_grad()
    def taken(self, points: Tensor) -> Tensor:
        """Whether points `(lanes, b, d)` are taken for the target, shape `(lanes, b)`."""
        found = self._by_parts(points[:, :, None], lambda x, _: self.model(x).argmax(1))
        return found[..., 0] == self.target

    def gradient(
        self,
        points: Tensor,
        sigma: float | Tensor,
        samples: int,
        generators: Sequence[torch.Generator],
        *,
        smooth_part: bool = False,
    ) -> Tensor:
        """The mean gradient at perturbations of points; the lanes of an image share their noise.

        Args:
            points: shape `(lanes, b, d)`.
            sigma: standard deviation of the noise; a number, or of shape `(lanes, b, 1)`.
            samples: number K of perturbations of each point.
            generators: one of each image; noise does not depend on what else is attacked.
            smooth_part: of the hinges only, without the norm.
        """
        found = torch.empty_like(points)
        lanes, count, size = points.shape
        together = max(1, _ROWS // (lanes * samples))
        for first in range(0, count, together):
            some = slice(first, first + together)
            perturbed = points[:, some, None].expand(-1, -1, samples, -1)
            if isinstance(sigma, Tensor) or sigma:
                noise = [torch.randn(samples, size, generator=each) for each in generators[some]]
                scale = sigma[:, some, None] if isinstance(sigma, Tensor) else sigma
                perturbed = perturbed + scale * torch.stack(noise)
            found[:, some] = self._by_parts(
                perturbed, lambda x, o: self._gradients(x, o, smooth_part), some
            ).mean(2)
        return found

    def _gradients(self, images: Tensor, originals: Tensor, smooth_part: bool) -> Tensor:
        images = images.requires_grad_()
        if smooth_part:
            values = hinges(self.model(images), self.target)
        else:
            values = objective(self.model, images, originals, self.target)
        return torch.autograd.grad(values.sum(), images)[0].flatten(1)

    def _by_parts(
        self,
        points: Tensor,
        function: Callable[[Tensor, Tensor], Tensor],
        some: slice = slice(None),
    ) -> Tensor:
        """A function of images and their originals, for points `(lanes, b, K, d)`."""
        originals = self.originals[some]
        shape = originals.shape[1:]
        images = points.reshape(-1, *shape)
        beside = originals[None, :, None].expand(*points.shape[:3], *shape).reshape(-1, *shape)
        parts = [
            function(
                images[i : i + _ROWS].contiguous(memory_format=torch.channels_last),
                beside[i : i + _ROWS],
            )
            for i in range(0, len(images), _ROWS)
        ]
        found = torch.cat(parts)
        return found.view(*points.shape[:3], *found.shape[1:])


def drawn_images(
    model: nn.Module, examples: Examples, label: int, number: int, seed: int
) -> tuple[list[int], Tensor]:
    """Images of a class, drawn among those that the network classifies correctly.

    Returns:
        Their places among the examples, and the images.

    Raises:
        ValueError: if there are not so many.
    """
    right = logits(model, examples.x).argmax(1) == examples.y
    places = torch.nonzero(right & (examples.y == label))[:, 0]
    if len(places) < number:
        raise ValueError(
            f"{number} correctly classified images of class {label} are needed, and there are "
            f"{len(places)}: give the official files"
        )
    order = torch.randperm(len(places), generator=torch.Generator().manual_seed(seed))
    chosen = places[order[:number]]
    return chosen.tolist(), examples.x[chosen]
