"""The strongest published attack, from a package: APGD in balls of several radii."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pprs_experiments.attack.objective import Attack, hinges
from pprs_experiments.attack.running import POINTS, Outcome, step_time


class Hinges(nn.Module):
    """The objective's hinges, as a loss of outputs and labels that APGD raises or lowers."""

    reduction = "mean"

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The loss: a number for each example if `reduction` says so, else one."""
        target = int(labels.reshape(len(labels), -1)[0].argmax())
        each = hinges(outputs, target)
        return each if self.reduction == "none" else getattr(each, self.reduction)()


def apgd(attack: Attack, radii: Sequence[float], plain_steps: int, seeds: Sequence[int]) -> Outcome:
    """Auto-PGD (Croce and Hein, 2020) of the hinges, with as many steps in each ball.

    It keeps to pixels from 0 to 1, which the others need not, and takes random numbers from
    numpy's global generator, which is seeded here.

    Args:
        attack: the images.
        radii: of the balls, a lane for each.
        plain_steps: in each ball.
        seeds: the first is taken.
    """
    classes, evasion = (
        import_module(f"art.{name}") for name in ("estimators.classification", "attacks.evasion")
    )
    shape = tuple(attack.originals.shape[1:])
    estimator: Any = classes.PyTorchClassifier(
        attack.model, Hinges(), shape, 10, clip_values=(0.0, 1.0), device_type="cpu"
    )
    x = attack.originals.contiguous().numpy()
    labels = np.full(len(x), attack.target)
    last = []
    for radius in radii:
        np.random.seed(seeds[0])  # the package draws from it
        made = evasion.AutoProjectedGradientDescent(
            estimator,
            eps=radius,
            eps_step=2 * radius,
            max_iter=plain_steps,
            targeted=True,
            nb_random_init=1,
            batch_size=len(x),
            verbose=False,
        ).generate(x, labels)
        last.append(torch.from_numpy(made).flatten(1))
    points = torch.stack(last)
    losses = attack.losses(points)[..., None].expand(-1, -1, POINTS)
    return Outcome.of(attack, losses, points, plain_steps, plain_steps * step_time(1, 1))
