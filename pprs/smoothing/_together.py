"""Small parameters of a pass, perturbed at once: nearly all that such a draw takes is its start."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor

from pprs.smoothing._noise import Role, Streams
from pprs.smoothing._sharing import Samples
from pprs.smoothing.native import cuda, kernels
from pprs.smoothing.native.kernels import Perturbed

_FEW_NUMBERS = {"cpu": 1 << 14, "cuda": 1 << 20}  # at all samples: beyond, drawing takes longer


class Small(Protocol):
    """What is asked of a `Target`."""

    name: str
    parameter: Tensor
    sigma: float
    samples: Samples
    together: Together | None

    @property
    def scale(self) -> Tensor | None: ...

    @property
    def streams(self) -> Streams: ...


class Together:
    """Parameters of up to one dimension, all drawn when the first of them is needed."""

    def __init__(self) -> None:
        self._targets: list[Small] = []
        self._drawn: dict[str, Tensor] = {}

    def drawn(self, target: Small) -> Tensor | None:
        """What `Target.stacked` is to give, or `None` where it has to be drawn alone."""
        if self._targets:
            self._draw()
        return self._drawn.pop(target.name, None)

    def _draw(self) -> None:
        targets, self._targets = self._targets, []
        if len(targets) == 1:
            return
        samples = targets[0].samples
        what = [Perturbed(t.parameter.detach().reshape(-1), t.sigma, t.scale) for t in targets]
        keys = [t.streams.key for t in targets]
        several = (cuda if targets[0].parameter.is_cuda else kernels).several
        drawn = several(keys, Role.PARAMETER, what, samples.count, samples.share)
        for target, values in zip(targets, drawn or (), strict=False):
            # As `.data`, or a change of one in place would look like one of all.
            self._drawn[target.name] = values.view(-1, *target.parameter.shape).data

    def add(self, target: Small) -> None:
        """One more, before the first is needed."""
        self._targets.append(target)
        target.together = self


def gather(targets: Iterable[Small]) -> None:
    """Let the small ones of a pass be drawn together."""
    groups: defaultdict[Any, Together] = defaultdict(Together)
    for target in targets:
        parameter = target.parameter
        limit = _FEW_NUMBERS.get(parameter.device.type, 0)
        few = 0 < parameter.numel() * target.samples.count <= limit
        if few and parameter.dim() <= 1 and parameter.dtype == torch.float32:
            groups[parameter.device].add(target)
