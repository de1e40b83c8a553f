"""Small problems for tests of the study."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import skip_init

from pprs_experiments.study.cell import Cell, Goal
from pprs_experiments.study.cost import Cost
from pprs_experiments.study.problem import Problem, drawing

EXAMPLES, DEPTH = 12, 3


def network_problem(seed=0, **changes):
    """A small network on random examples; the seed draws both."""
    generator = drawing(seed, "small")
    model = nn.Sequential(skip_init(nn.Linear, 5, 8), nn.ReLU(), skip_init(nn.Linear, 8, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    x = torch.randn(EXAMPLES, 5, generator=generator)
    y = torch.randn(EXAMPLES, 3, generator=generator)

    def loss(x, y):
        return (model(x) - y).abs().sum(1).mean()

    def measured():
        return loss(x, y).item()

    settings = dict(
        model=model,
        loss=loss,
        batch=(x, y),
        cost=Cost(DEPTH, EXAMPLES, divisible=True, overhead=0.0),
        training_loss=measured,
        metrics={"double": lambda: 2 * measured()},
    )
    return Problem(**(settings | changes))


def weights(problem):
    """All parameters of a problem, as one vector."""
    return torch.cat([p.detach().flatten() for p in problem.model.parameters()])


def gradient(problem, batch=None):
    """The gradient at the present parameters, as one list."""
    loss = problem.loss(*(problem.batch if batch is None else batch))
    return torch.autograd.grad(loss, list(problem.model.parameters()))


@dataclass(frozen=True)
class SmallTask:
    """The small network, as a task of the study; whoever asks for a marked seed is killed."""

    depth: int = DEPTH
    mean: bool = True
    killed: str = ""

    def problem(self, seed, data_dir):
        mark = Path(self.killed)
        if self.killed and mark.exists():
            mark.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return network_problem(seed, cost=Cost(self.depth, EXAMPLES, divisible=self.mean))


@dataclass(frozen=True)
class KillingTask:
    """Whoever asks for a problem is killed."""

    def problem(self, seed, data_dir):
        os.kill(os.getpid(), signal.SIGKILL)


def small_cell(**changes):
    """A cell of the small network."""
    loss = Goal("training_loss", "lower")
    settings = dict(
        name="small",
        task=SmallTask(),
        spent="time",
        steps=20,
        methods=("gd", "pprs"),
        tuned_by=loss,
        goal=loss,
        questions=(3,),
    )
    return Cell(**(settings | changes))
