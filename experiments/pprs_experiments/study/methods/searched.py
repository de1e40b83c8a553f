"""Steps whose size is searched: the method without any hyperparameter."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

import pprs
from pprs_experiments.study.methods.gradients import Plain
from pprs_experiments.study.methods.method import Stepper
from pprs_experiments.study.problem import Problem

_SAMPLES = 12  # what `pprs.SearchedStep` averages by default


class SearchedStepper(Stepper):
    """`pprs.SearchedStep` before Adam, with everything by default.

    Args:
        problem: at its start.
        seed: of everything drawn.

    Raises:
        ValueError: for a problem with an adversary.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        if problem.adversary:
            raise ValueError("a searched step has no place for an adversary between its candidates")
        adam = torch.optim.Adam(problem.model.parameters())
        super().__init__(Plain(problem, seed), adam, problem.price(_SAMPLES))
        self._problem = problem
        self._search = pprs.SearchedStep(adam, problem.model, seed=seed)

    def step(self, progress: float) -> Tensor:
        """Take one; the spent part of the budget makes no difference."""
        self.taken += 1
        return self._search.step(lambda: self._problem.loss(*self._problem.batch))

    def evaluating(self) -> AbstractContextManager[None]:
        """The model always holds the method's result."""
        return nullcontext()
