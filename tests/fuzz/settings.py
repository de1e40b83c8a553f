"""How the pipeline of a number runs, and what its steps are like, one by one."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, replace

import torch
from fuzz.models import ROWS, Case

from pprs.pipeline import chain
from pprs.pipeline.schedule import stages_each

SCHEDULES = (
    "gpipe", "1f1b", "looped-bfs", "interleaved-1f1b", "interleaved-zero-bubble", "zb-v",
    "dualpipe-v",
)  # fmt: skip
LAWS = ({}, {"antithetic": True}, {"scale": "filter"}, {"noise": "example"})
SEED, SIGMA, SAMPLES = 5, 0.1, 8


@dataclass(frozen=True)
class Turn:
    """What is special about a step.

    Args:
        rows: examples in the batch.
        accumulate: whether gradients are added.
        evaluation: whether it is taken in evaluation mode.
        autocast: whether it is taken under autocast.
        frozen: the number of a parameter that is frozen before it, or thaws.
        targets: their type.
    """

    rows: int = ROWS
    accumulate: bool = False
    evaluation: bool = False
    autocast: bool = False
    frozen: int | None = None
    targets: torch.dtype = torch.float64

    def of(self, case: Case, model: torch.nn.Module) -> Case:
        """The batch of this step, for a model."""
        some = torch.arange(self.rows) % ROWS
        inputs = tuple(x[some] for x in case.inputs)
        return replace(case, model=model, inputs=inputs, target=case.target[some].to(self.targets))


def settings(number: int, processes: int) -> dict:
    """The arguments of the pipeline of a number."""
    r = random.Random(number * 7919)
    schedule = r.choice(SCHEDULES)
    chosen = {"schedule": schedule, "seed": SEED, "microbatches": r.choice([4, 4, 8, None])}
    if schedule == "gpipe":
        chosen["microbatches"] = r.choice([1, 2, 4])
    if r.random() < 0.25:
        chosen["replicas"] = r.choice([2, processes])
    if schedule in SCHEDULES[2:5] and r.random() < 0.4:
        chosen["stages_per_rank"] = r.choice([1, 1, 3])
    if r.random() < 0.6:
        chosen |= {"samples": SAMPLES, "sigma": SIGMA, **r.choice(LAWS)}
    if "samples" not in chosen or r.random() < 0.2:
        chosen["split"] = "examples"
    if schedule in SCHEDULES[:4] and r.random() < 0.15:
        chosen["recompute"] = True
    if r.random() < 0.1:
        chosen["record"] = 1
    return chosen


def by_hand(number: int, case: Case, example: tuple, chosen: dict, processes: int) -> dict:
    """Where the pipeline of a number is cut, if not where it likes."""
    r = random.Random(number * 7907)
    if r.random() > 0.15:
        return {}
    each = stages_each(chosen["schedule"], chosen.get("stages_per_rank"))
    stages = each * processes // chosen.get("replicas", 1)
    layers = chain(copy.deepcopy(case.model), *example, stages=stages).layers
    wanted = sorted(r.sample(range(1, len(layers)), min(stages, len(layers)) - 1))
    return {"cut": [i if r.random() < 0.5 else layers[i] for i in wanted]}


def turns(number: int, dtype: torch.dtype) -> list[Turn]:
    """The steps that the pipeline of a number takes, of a model of a type."""
    r, single = random.Random(number * 7901), dtype is torch.float32

    def turn() -> Turn:
        return Turn(
            rows=r.choice([ROWS, ROWS, ROWS, ROWS, 1, 2, 4, 6, 16]),
            accumulate=r.random() < 0.2,
            evaluation=r.random() < 0.15,
            autocast=single and r.random() < 0.7,
            frozen=r.randrange(100) if r.random() < 0.2 else None,
            targets=torch.float32 if single or r.random() < 0.1 else torch.float64,
        )

    first = replace(turn(), rows=ROWS, frozen=None) if r.random() < 0.7 else turn()
    return [first, *(turn() for _ in range(r.randint(1, 2)))]
