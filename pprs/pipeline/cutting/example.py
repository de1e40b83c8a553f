"""A model's call on an example, with tensors in and tensors out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._pytree import tree_flatten, tree_unflatten

from pprs.pipeline.cutting.described import described


class Example:
    """What a model is traced on.

    Args:
        model: of any kind.
        tensors: its positional arguments, batched in the first dimension.
        options: its keyword arguments; all but tensors are fixed.

    Attributes:
        inputs: all tensors.
        free: which of their dimensions are, for ``torch.export``.
        adapter: takes these, and gives a tuple of tensors.
        outputs: how these lay in what the model gave, last: their numbers in place of them.
    """

    def __init__(
        self, model: nn.Module, tensors: Sequence[Tensor], options: Mapping[str, Any]
    ) -> None:
        self.model = model
        keys = [key for key, value in options.items() if isinstance(value, Tensor)]
        fixed = {key: value for key, value in options.items() if key not in keys}
        self.inputs = _batch([*tensors, *(options[key] for key in keys)])
        rows = self.inputs[0].shape[:1]
        self.free = tuple({0: Dim.AUTO} if x.shape[:1] == rows else None for x in self.inputs)
        self.outputs: list[Any] = []
        # torch.export forgets what a forward assigns, but not what it calls.
        self.adapter = _Adapter(model, len(tensors), keys, fixed, self.outputs.append)

    @contextmanager
    def in_other_mode(self) -> Iterator[bool]:
        """Put the model into evaluation mode, if it is in training mode, or back.

        Normalisation over the batch cannot train here.
        """
        modes = {module: module.training for module in self.model.modules()}
        other = not self.model.training
        for module in modes:
            module.training = other and not isinstance(module, _NormBase)
        try:
            yield other
        finally:
            for module, mode in modes.items():
                module.training = mode

    def run(self, function: Callable[..., Any], buffers: Sequence[Tensor]) -> list[Tensor]:
        """The tensors that a function makes of the example, which leaves nothing behind."""
        kept = [(buffer, buffer.clone()) for buffer in buffers]
        devices = {x.device.index for x in self.inputs if x.is_cuda}
        try:
            with torch.no_grad(), torch.random.fork_rng(devices):
                torch.manual_seed(0)
                leaves, _ = tree_flatten(function(*(x.clone() for x in self.inputs)))
        finally:
            for buffer, value in kept:
                buffer.data.copy_(value)
        return [leaf for leaf in leaves if leaf is not None]


class _Adapter(nn.Module):
    def __init__(
        self,
        model: nn.Module,
        positional: int,
        keys: Sequence[str],
        fixed: Mapping[str, Any],
        note: Callable[[Any], None],
    ) -> None:
        super().__init__()
        self.model = model
        self._positional, self._keys, self._fixed, self._note = positional, keys, fixed, note

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(self._keys, tensors[self._positional :], strict=True))
        output = self.model(*tensors[: self._positional], **named, **self._fixed)
        output = getattr(output, "logits", output)
        leaves, structure = tree_flatten(output)
        given = [leaf for leaf in leaves if leaf is not None]
        if not given or not all(isinstance(leaf, Tensor) for leaf in given):
            raise TypeError(f"it must return tensors, or .logits, but returned {described(output)}")
        numbers = iter(range(len(given)))
        places = [None if leaf is None else next(numbers) for leaf in leaves]
        self._note(tree_unflatten(places, structure))
        return tuple(given)


def _batch(inputs: list[Tensor]) -> list[Tensor]:
    # torch.export takes a dimension of size 1 for a constant.
    if any(x.shape[:1] != (1,) for x in inputs[:1]):
        return inputs
    return [torch.cat([x, x]) if x.shape[:1] == (1,) else x for x in inputs]
