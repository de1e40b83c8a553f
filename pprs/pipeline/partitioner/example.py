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

from pprs.pipeline.partitioner.layer_outputs import described
from pprs.pipeline.snapshot import Snapshot


class Example:
    """The example on which a model is traced.

    Args:
        model: of any kind.
        tensors: its positional arguments, batched in the first dimension.
        options: its keyword arguments; all but tensors are fixed.

    Attributes:
        inputs: all tensors.
        free: which of their dimensions are, for `torch.export`.
        adapter: takes these, and gives a tuple of tensors.
        outputs: structure of the model's last output, with numbers in place of its tensors.
        assigned: buffers, and tensors that are none, that the forward replaced while it was
            traced, as they were.
    """

    def __init__(
        self, model: nn.Module, tensors: Sequence[Tensor], options: Mapping[str, Any]
    ) -> None:
        self.model = model
        keys = [key for key, value in options.items() if isinstance(value, Tensor)]
        fixed = {key: value for key, value in options.items() if key not in keys}
        given = [*tensors, *(options[key] for key in keys)]
        # One tensor given twice, or a view of another, would be one and the same in the trace.
        self.inputs = _batch([x.detach().clone() for x in given])
        rows = self.inputs[0].shape[:1]
        self.free = tuple({0: Dim.AUTO} if x.shape[:1] == rows else None for x in self.inputs)
        self.outputs: list[Any] = []
        # torch.export forgets what a forward assigns, but not what it calls.
        self.assigned: dict[tuple[nn.Module, str], Tensor] = {}
        self.adapter = _Adapter(
            model, len(tensors), keys, fixed, self.outputs.append, self._write_assigned
        )

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

    def _write_assigned(self) -> None:
        """Let what the forward replaced hold the new values: a trace keeps the tensor."""
        for (module, name), buffer in self.assigned.items():
            place = module._buffers if name in module._buffers else vars(module)
            value: Any = place[name]
            alike = isinstance(value, Tensor) and value.shape == buffer.shape
            if not alike or value.dtype != buffer.dtype:
                raise TypeError(
                    f"it replaces {name!r} of a {type(module).__name__} by something of "
                    "another shape or dtype"
                )
            buffer.copy_(value.detach())
            place[name] = buffer
        self.assigned.clear()

    def run(
        self, module: nn.Module, buffers: Callable[[], dict[str, Tensor]]
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """What a module makes of the example, and of its buffers; leaves nothing behind."""
        with left_alone(module):
            leaves, _ = tree_flatten(module(*(x.clone() for x in self.inputs)))
            given = [leaf for leaf in leaves if leaf is not None]
            return given, {name: buffer.clone() for name, buffer in buffers().items()}


@contextmanager
def left_alone(module: nn.Module) -> Iterator[None]:
    """Run a module without gradients in here; then its state and random numbers are as before."""
    kept = Snapshot([module])
    try:
        with torch.no_grad():
            torch.manual_seed(0)
            yield
    finally:
        kept.restore()


class _Adapter(nn.Module):
    def __init__(
        self,
        model: nn.Module,
        positional: int,
        keys: Sequence[str],
        fixed: Mapping[str, Any],
        note: Callable[[Any], None],
        finish: Callable[[], None],
    ) -> None:
        super().__init__()
        self.model = model
        self._positional, self._keys, self._fixed = positional, keys, fixed
        self._note, self._finish = note, finish

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(self._keys, tensors[self._positional :], strict=True))
        output = self.model(*tensors[: self._positional], **named, **self._fixed)
        output = getattr(output, "logits", output)
        self._finish()
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
