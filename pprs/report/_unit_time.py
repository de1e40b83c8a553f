"""What the steps of `pprs train` cost in the unit-time model, from the settings of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import ceil
from typing import Any

# Whose passes follow each other one unit apart, with a stage on each process.
_KNOWN = ("gpipe", "1f1b")


def evaluations(settings: Mapping[str, Any], steps: Sequence[int]) -> list[float] | None:
    """Gradients of a batch at one point that were taken up to each of these steps.

    Args:
        settings: of the run; what they lack cannot be known.
        steps: ascending.
    """
    samples = _whole(settings, "samples")
    batches = _batches(settings, steps[-1] if steps else 0)
    return None if samples is None or batches is None else [samples * batches[s] for s in steps]


def pipeline_times(settings: Mapping[str, Any], steps: Sequence[int]) -> list[float] | None:
    r"""Pipeline time up to each of these steps.

    One forward or backward of a whole batch, at one perturbation, in one stage is a unit; a
    microbatch is the part of it that it carries. So M microbatches that share K perturbations of
    a batch take $2\frac{K}{M}(M + \Delta - 1)$ on $\Delta$ stages: with a perturbation in each
    this is the theory's $2(K + \Delta - 1)$. With `recompute` a backward is two units.

    Args:
        settings: of the run; what they lack, or another schedule, cannot be told.
        steps: ascending.
    """
    samples, microbatches = _whole(settings, "samples"), _whole(settings, "microbatches")
    stages, replicas = _whole(settings, "stages"), _whole(settings, "replicas")
    batches = _batches(settings, steps[-1] if steps else 0)
    if samples is None or microbatches is None or stages is None or replicas is None:
        return None
    if batches is None or settings.get("schedule") not in _KNOWN:
        return None
    passes = 3 if settings.get("recompute") is True else 2
    one = passes * samples / microbatches * (microbatches / replicas + stages - 1)
    return [one * batches[step] for step in steps]


def _batches(settings: Mapping[str, Any], last: int) -> list[int] | None:
    """How many batches were taken up to each step from 0; the last one of an epoch may have few."""
    names = ("accumulate", "batch", "examples", "steps_per_epoch")
    each, size, examples, per_epoch = (_whole(settings, name) for name in names)
    if each is None or size is None or examples is None or per_epoch is None or last > 10**8:
        return None
    rest = ceil(examples / size) - each * (per_epoch - 1)
    if not 1 <= rest <= each:
        return None
    taken = (rest if step % per_epoch == 0 else each for step in range(1, last + 1))
    return [0, *accumulate(taken)]


def _whole(settings: Mapping[str, Any], name: str) -> int | None:
    value = settings.get(name)
    return value if type(value) is int and value >= 1 else None
