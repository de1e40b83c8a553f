"""The main job: search the step sizes, train every method with every seed, write what came out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch.distributed as dist
from torch import Tensor

from pprs.compare.config import CompareConfig, MethodName
from pprs.compare.run import TrainingRun, examples
from pprs.compare.search import ChosenStepSize, Trial, candidates, choose, try_candidates
from pprs.io.folder import claim
from pprs.pipeline import joined, launch
from pprs.pipeline.communication import gathered

if TYPE_CHECKING:
    from pprs.compare.reporter import Reporter


def compare(config: CompareConfig) -> None:
    """Run the experiment in as many processes as the settings need.

    Args:
        config: the settings.

    Raises:
        ValueError: if the data set has too few examples, nothing can be written to `config.out`,
            or torchrun started another number of processes than they need.
        LaunchError: if a rank fails.
    """
    examples(config, seed=0)  # fails here once, before there are a folder and processes
    launch(_rank, config.processes, config, None if joined() else claim(config.out, config.name))


def _rank(config: CompareConfig, folder: Path | None) -> None:
    rank, last = dist.get_rank(), dist.get_world_size() - 1
    alone = [dist.new_group([i]) for i in range(last + 1)][rank]
    assert alone is not None
    if rank < last:
        _experiment(config, alone, None)
        return
    # The last process reports, and only it imports what that needs: pictures, above all.
    from pprs.compare.reporter import Reporter

    with Reporter(config, folder or claim(config.out, config.name), _work(config)) as reporter:
        _experiment(config, alone, reporter)
        reporter.finish()


def _experiment(config: CompareConfig, alone: dist.ProcessGroup, reporter: Reporter | None) -> None:
    choices = _search(config, alone, reporter)
    for run in _runs(config, choices):
        _train(run, reporter)


def _search(
    config: CompareConfig, alone: dist.ProcessGroup, reporter: Reporter | None
) -> dict[MethodName, ChosenStepSize]:
    rank, world = dist.get_rank(), dist.get_world_size()
    mine: list[Trial] = []
    for trial in try_candidates(candidates(config)[rank::world], alone):
        mine.append(trial)
        if reporter:
            reporter.trial(trial, share=world)
    trials: list[Trial] = [trial for share in gathered(mine) for trial in share]
    choices = choose(config, trials)
    if reporter:
        reporter.choices(trials, choices)
    return choices


def _train(run: TrainingRun, reporter: Reporter | None) -> None:
    weights: dict[str, Tensor] = {}
    for point in run.execute(*examples(run.config, run.seed), weights=weights):
        if reporter:
            reporter.point(run, point)
    last = dist.get_world_size() - 1
    shares: list[dict[str, Tensor]] | None = [{} for _ in range(last + 1)] if reporter else None
    dist.gather_object(weights, shares, dst=last)
    if reporter and shares:
        reporter.weights(run, {name: value for share in shares for name, value in share.items()})


def _runs(config: CompareConfig, choices: dict[MethodName, ChosenStepSize]) -> list[TrainingRun]:
    return [
        TrainingRun(config, method, choices[method].lr, seed)
        for method in config.methods
        for seed in range(config.seeds)
    ]


def _work(config: CompareConfig) -> int:
    runs = [
        *candidates(config),
        *_runs(config, {m: ChosenStepSize(0.0, {}) for m in config.methods}),
    ]
    return sum(run.steps * run.step_time for run in runs)
