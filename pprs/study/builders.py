"""Problems of the study, from tasks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pprs.study.cost import OVERHEAD, Cost
from pprs.study.problem import Adversary, Measure, Problem, drawing
from pprs.tasks.convex import Convex, Polyhedral
from pprs.tasks.examples import Examples
from pprs.tasks.few_shot import FewShot
from pprs.tasks.losses import Loss


def classification(
    task: FewShot,
    network: nn.Sequential,
    loss: Loss,
    *,
    divisible: bool = True,
    adversary: Adversary | None = None,
    overhead: float = OVERHEAD,
) -> Problem:
    """Train a network on few images; its pieces are the nodes of the pipeline.

    The metrics are the accuracies on the ``validation`` and on the ``test`` examples. With an
    adversary the training loss is that of attacked examples; the accuracies are not.

    Args:
        task: the examples.
        network: in its initial state.
        loss: of outputs and labels.
        divisible: whether the loss is a mean over examples.
        adversary: changes the training examples before every gradient.
        overhead: as for :class:`Cost`.
    """
    batch = (task.train.x, task.train.y)

    def training_loss() -> float:
        x, y = batch if adversary is None else adversary.attack(batch, drawing(0, "measured"))
        return loss(network(x), y).item()

    return Problem(
        network,
        lambda x, y: loss(network(x), y),
        batch,
        Cost(len(network), len(task.train), divisible, overhead),
        training_loss,
        {
            "validation": _accuracy(network, task.validation),
            "test": _accuracy(network, task.test),
        },
        adversary,
    )


def _accuracy(network: nn.Module, examples: Examples) -> Measure:
    return lambda: (network(examples.x).argmax(1) == examples.y).double().mean().item()


def convex(function: Convex, depth: int, *, overhead: float = OVERHEAD) -> Problem:
    r"""Minimise a convex function from 0; the metric is its ``gap``, $f(\theta) - f^*$.

    Args:
        function: of which ``theta`` is where to start.
        depth: nodes of the pipeline that computes it.
        overhead: as for :class:`Cost`.
    """
    divisible = isinstance(function, Polyhedral) and function.aggregate == "mean"

    def loss(index: Tensor) -> Tensor:
        # Choosing all examples would copy them all.
        value: Tensor = function(index) if len(index) < function.examples else function()
        return value

    return Problem(
        function,
        loss if divisible else function,
        (torch.arange(function.examples),) if divisible else (),
        Cost(depth, function.examples, divisible, overhead),
        lambda: function().item(),
        {"gap": lambda: function().item() - function.minimum},
    )
