"""The model that a chain was cut from, to be run beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn


class Origin:
    """A model, called with the tensors that its chain takes.

    Args:
        model: the user's.
        tensors: its positional arguments in the example from which it was traced; `None` if it
            was not.
        options: its keyword arguments in the example; all but tensors are fixed.
    """

    def __init__(
        self,
        model: nn.Module,
        tensors: Sequence[Tensor] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.model, self.traced = model, tensors is not None
        self._positional = None if tensors is None else len(tensors)
        self._options = dict(options or {})
        self._keys = [key for key, value in self._options.items() if isinstance(value, Tensor)]
        for key in self._keys:
            del self._options[key]

    def __call__(self, *tensors: Tensor) -> Any:
        """What the model gives, or its `.logits`."""
        if self._positional is None:
            return self.model(*tensors)
        named = dict(zip(self._keys, tensors[self._positional :], strict=True))
        output = self.model(*tensors[: self._positional], **named, **self._options)
        return getattr(output, "logits", output)
