"""The loss of a microbatch: over all its perturbations, and of outputs alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from pprs.smoothing import Samples, at_perturbed, leaves


def mean_over_samples(
    loss: Callable[..., Tensor], rows: Sequence[Tensor], kept_by: Callable[..., Any]
) -> Tensor:
    """The mean of a loss over samples that run together.

    Args:
        loss: of one sample.
        rows: its arguments, `(samples, ...)` each.
        kept_by: the user's own loss; what it keeps must not go on from one sample to the next.
    """
    holder = kept_by if isinstance(kept_by, nn.Module) else nn.Module()
    samples = Samples(len(rows[0]))
    losses: Tensor = at_perturbed(
        loss, [], samples, *rows, model=holder, watched=False, closure=kept_by
    )
    return losses.mean()


def check_uses_none(
    loss: Tensor, outputs: Sequence[Tensor], perturbed: Mapping[str, nn.Parameter]
) -> None:
    """Refuse a loss that uses parameters past their layers, which alone perturb them.

    Args:
        loss: with its graph.
        outputs: what it may use.
        perturbed: what it may not.

    Raises:
        RuntimeError: naming the parameter.
    """
    names = {id(parameter): name for name, parameter in perturbed.items()}
    for leaf in leaves([loss], outputs):
        if id(leaf) in names:
            raise RuntimeError(
                f"the loss uses parameter {names[id(leaf)]!r} itself, which only its layer "
                f"perturbs: let a layer compute that term, or the optimizer a weight decay"
            )
