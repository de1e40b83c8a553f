"""A function that vmap cannot run, once for each sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import resolve_name
from torch.utils._pytree import tree_flatten, tree_unflatten

from pprs.smoothing._caches import loose_weights
from pprs.smoothing._vmap import Operand, on_all_samples, stacked

# How torch says that it is vmap that it cannot, and not the function.
_NO_RULE = (
    "atching rule not implemented for",
    "vmap: we do not yet support",
    "expand is unsupported for Sparse",  # and SparseCsr
)


def has_no_rule(error: Exception) -> bool:
    """Whether a function failed since vmap has no rule for it."""
    return any(words in str(error) for words in _NO_RULE)


def one_by_one(sample: Tensor, count: int, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """`func(*args, **kwargs)` for each sample, the tensors in them as that sample sees them.

    Args:
        sample: the sample's number, that vmap maps over.
        count: how many there are.
        func: gives a tensor or a tuple of tensors; or no tensor, and the same for all samples.
        args: positional arguments, with tensors at any depth.
        kwargs: named arguments.
    """
    leaves, structure = tree_flatten((args, kwargs))
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    values: list[Any] = []

    def body(*operands: Operand) -> Any:
        results = []
        for number in range(count):
            for place, operand in zip(places, operands, strict=True):
                leaves[place] = operand.value if operand.shared else operand.value[number]
            sample_args, sample_kwargs = tree_unflatten(leaves, structure)
            with loose_weights():
                results.append(func(*sample_args, **sample_kwargs))
        if isinstance(results[0], Tensor | tuple | list):
            return stacked(results)
        values.extend(results)
        return torch.zeros(count, device=sample.device)

    result = on_all_samples(body, sample, *(leaves[place] for place in places), apart=True)
    if any(value != values[0] for value in values):
        raise RuntimeError(
            f"{resolve_name(func)} gives {values[0]!r} at one perturbation and another value at "
            f"others: they run together, so nothing can depend on it but tensors"
        )
    return values[0] if values else result
