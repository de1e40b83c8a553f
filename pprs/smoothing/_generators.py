"""The state of torch's own generators, which layers such as dropout draw from."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class Generators:
    """What the generators of the CPU and of the CUDA devices in use will draw next.

    Args:
        parameters: on whose devices layers draw.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        cuda = {p.device.index for p in parameters if p.is_cuda}
        own = [torch.default_generator, *(torch.cuda.default_generators[i] for i in sorted(cuda))]
        self._states = [(one, one.get_state()) for one in own]

    def set(self) -> None:
        """Let them go on from here."""
        for generator, state in self._states:
            generator.set_state(state)

    def drew_on_cuda(self, before: Generators) -> bool:
        """Whether something was drawn there, which a CUDA graph draws otherwise."""
        states = zip(self._states[1:], before._states[1:], strict=True)
        return any(not torch.equal(now, then) for (_, now), (_, then) in states)

    def drew(self, before: Generators) -> bool:
        """Whether something was drawn."""
        states = zip(self._states, before._states, strict=True)
        return any(not torch.equal(now, then) for (_, now), (_, then) in states)
