"""Results that were made up, with known answers."""

import numpy as np

from pprs_experiments.study.cell import Goal
from pprs_experiments.study.results import Result, SeedRun

ACCURACY = Goal("test", "higher")
LOSS = Goal("training_loss", "lower")
TIME = Goal("excess", "lower", target=0.01)


def made(
    cell, method, values, *, goal=ACCURACY, spent="time", questions=(3,), task=None, tuned=None, **h
):
    """A result with these outcomes; tuning says what they come to unless it is told otherwise."""
    finite = np.clip(np.asarray(values, float), -1e30, 1e30)
    return Result(
        cell=cell,
        spent=spent,
        method=method,
        definition="",
        questions=questions,
        task={"task": "Made", **(task or {})},
        goal=goal,
        hyperparameters={"lr": 0.1, **h},
        tuned=float(np.mean(finite)) if tuned is None else tuned,
        trials=20,
        seconds=36.0,
        runs=tuple(_run(seed, float(value)) for seed, value in enumerate(values)),
    )


def _run(seed, value):
    history = tuple((10.0 * i, 1.0 * i, 0.5**i + 0.01) for i in range(11))
    return SeedRun(seed, value, False, 10, 100.0, 10.0, 0.1, 0.011, {"test": value}, history)


def drawn(random, middle, seeds=10, spread=0.02):
    """Outcomes around a middle."""
    return middle + spread * random.normal(size=seeds)
