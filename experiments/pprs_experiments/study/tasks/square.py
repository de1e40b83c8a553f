"""The square attack, of which not a line is ours: it checks that gradients do not mislead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pprs._arguments import counts, positive
from pprs.compare.examples import Examples
from pprs_experiments.study.tasks.classification import right
from pprs_experiments.tasks.images.pixels import PixelScale

Values = NDArray[np.float32]


def square_attacked(
    network: nn.Module,
    examples: Examples,
    scale: PixelScale,
    epsilon: float,
    queries: int,
    seed: int,
) -> Tensor:
    r"""Which examples a network is still right about under an attack that sees its scores only.

    It changes squares of pixels by chance, and keeps what lowers the lead of the right score. From
    Andriushchenko et al., Square attack: a query-efficient black-box adversarial attack via random
    search, 2020, as the Adversarial Robustness Toolbox has it.

    Args:
        network: standardised images `(m, c, h, w)` to outputs `(m, classes)`.
        examples: standardised images.
        scale: what they were standardised by.
        epsilon: how much a pixel from 0 to 1 may change, above 0.
        queries: how many changes are tried, at least 1.
        seed: draws them.

    Returns:
        Shape `(m,)`; nothing is attacked that the network is wrong about anyway.

    Raises:
        ModuleNotFoundError: without the toolbox.
        ValueError: for an argument out of its range.
    """
    positive(epsilon=epsilon)
    counts(queries=queries)
    attacks, estimators = _toolbox("attacks.evasion"), _toolbox("estimators.classification")
    robust = right(network, examples)
    if not robust.any():
        return robust
    pixels = examples.x * scale.deviation + scale.mean

    @torch.no_grad()
    def scores(x: Values) -> Values:
        found: Tensor = network(scale(torch.as_tensor(x, dtype=pixels.dtype)))
        return found.numpy()

    seen = estimators.BlackBoxClassifierNeuralNetwork(
        scores,
        tuple(pixels.shape[1:]),
        examples.classes,
        channels_first=True,
        clip_values=(0, 1),
    )
    attack = attacks.SquareAttack(
        seen, eps=epsilon, max_iter=queries, batch_size=len(examples), verbose=False
    )
    with _numpy_seed(seed), np.errstate(invalid="ignore"):  # scores may be infinite
        found = attack.generate(pixels[robust].clamp(0, 1).numpy(), examples.y[robust].numpy())
    attacked = Examples(scale(torch.as_tensor(found)), examples.y[robust], examples.classes)
    still = robust.clone()
    still[robust] = right(network, attacked)
    return still


def _toolbox(module: str) -> Any:
    try:
        return import_module(f"art.{module}")
    except ImportError as error:
        raise ModuleNotFoundError(
            "the square attack comes from the package adversarial-robustness-toolbox, which is not "
            "installed: pip install ./experiments",
            name="art",
        ) from error


@contextmanager
def _numpy_seed(seed: int) -> Iterator[None]:
    """The toolbox draws from numpy's global generator, which is as before after the block."""
    kept = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(kept)
