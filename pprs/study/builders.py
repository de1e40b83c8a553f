"""Problems of the study, from functions."""

from __future__ import annotations

import torch
from torch import Tensor

from pprs.study.cost import OVERHEAD, Cost
from pprs.study.problem import Problem
from pprs.tasks.convex import Convex, Polyhedral


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
