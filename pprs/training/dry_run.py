"""A dry run: one step of the cut model in this process, before others are started."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from pprs.pipeline import Chain, full_names
from pprs.pipeline.loss import mean_over_samples
from pprs.pipeline.stage import PerturbedStage
from pprs.training.config import TrainConfig
from pprs.training.data import Batch
from pprs.training.task import Task
from pprs.training.user_errors import user_code
from pprs.training.user_functions import seed_all


def dry_run(config: TrainConfig, task: Task, whole: Chain, cut: Sequence[range]) -> None:
    """Run two examples forward and backward through all stages; gradients stay in `.grad`.

    Args:
        config: the settings.
        task: what is trained.
        whole: the pieces of the model.
        cut: those of each stage.

    Raises:
        ValueError: with the stage that fails.
    """
    names = [n for n, p in full_names(whole).items() if p.requires_grad]
    batch = task.training.example()
    samples = min(config.count, 2)
    seed_all(config.seed)
    values = tuple(x[None, None].expand(1, samples, *x.shape) for x in batch.inputs)
    passed: list[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]] = []
    for number, pieces in enumerate(cut):
        part = Chain(*(whole[i] for i in pieces))
        here = _precision(config)
        last = number + 1 == len(cut)
        stage = PerturbedStage(
            *(part, config.perturbation, names, config.seed),
            number=number,
            last=last,
            recompute=config.recompute,
        )
        with user_code(f"the model failed as it is cut, {_named(whole, pieces, number)}"), here:
            given = stage(*values, microbatch=torch.tensor([0]))
        given = given if isinstance(given, tuple) else (given,)
        passed.append((values, given))
        # As they arrive in another process, where their gradient is wanted.
        values = tuple(_arriving(x) for x in given)
    _backward(config, task, batch, samples, values, passed, whole, cut)


def _backward(
    config: TrainConfig,
    task: Task,
    batch: Batch,
    samples: int,
    outputs: tuple[Tensor, ...],
    passed: list[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]],
    whole: Chain,
    cut: Sequence[range],
) -> None:
    target = batch.target.expand(samples, *batch.target.shape)
    own = config.perturbation.samples_of(samples, len(batch.target))
    scores = own.spread(outputs[0].float() if _autocast(config) else outputs[0])
    with user_code(f"the loss, {config.loss}, of the last stage's outputs failed"):
        rows = (scores, own.spread(target))
        torch.autograd.backward(mean_over_samples(task.loss, rows, task.loss))
    gradients = tuple(x.grad for x in outputs)
    for number, (arrived, given) in reversed(list(enumerate(passed))):
        # Of inner products: for gradients that are handed to it torch imports what takes a second.
        ends = [
            (x * gradient).sum()
            for x, gradient in zip(given, gradients, strict=True)
            if x.requires_grad and gradient is not None
        ]
        with user_code(f"the backward of the model failed, {_named(whole, cut[number], number)}"):
            if ends:
                torch.autograd.backward(ends)
        gradients = tuple(x.grad if x.is_leaf else None for x in arrived)


def _arriving(x: Tensor) -> Tensor:
    return x.detach().requires_grad_(x.requires_grad)


def _autocast(config: TrainConfig) -> bool:
    return config.precision == "bfloat16"


def _precision(config: TrainConfig) -> AbstractContextManager[object]:
    return torch.autocast("cpu", torch.bfloat16) if _autocast(config) else nullcontext()


def _named(whole: Chain, pieces: range, number: int) -> str:
    first, last = (whole.layers[i] for i in (pieces[0], pieces[-1]))
    return f'layers "{first}" to "{last}" in stage {number}'
