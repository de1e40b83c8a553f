"""The check that a seed determines all that is random in a user's data."""

from __future__ import annotations

from pprs.training.config import TrainConfig
from pprs.training.data import Batch, Examples, training_and_validation
from pprs.training.user_functions import called, seed_all


def check_seeded(config: TrainConfig, examples: Examples) -> None:
    """Raise `ValueError` if each process would read other examples under the same numbers.

    Data that draw from a generator of their own are right if that is seeded: all processes read
    the same items in the same order.

    Args:
        config: the settings.
        examples: to train on.
    """
    if config.processes == 1 or _same(_read(config, examples), _read(config, examples)):
        return
    if not _same(*(_read(config, _anew(config)) for _ in range(2))):
        raise ValueError(
            f"data={config.data}: items of the training data differ each time although torch, "
            f"numpy and random are seeded, so each process would read others: seed their own "
            f"generator, as numpy.random.default_rng(0) does, or draw from numpy.random or torch"
        )


def _anew(config: TrainConfig) -> Examples:
    data = called("data", config.data, config.seed)
    return training_and_validation(data, shift=config.shift_labels)[0]


def _read(config: TrainConfig, examples: Examples) -> Batch:
    seed_all(config.seed)
    return examples.example()


def _same(first: Batch, second: Batch) -> bool:
    pairs = zip((*first.inputs, first.target), (*second.inputs, second.target), strict=True)
    # Two that are no number are the same here.
    return all(
        a.shape == b.shape and bool(((a == b) | a.isnan() & b.isnan()).all()) for a, b in pairs
    )
