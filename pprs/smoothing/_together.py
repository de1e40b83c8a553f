"""Small parameters of a pass, perturbed at once: nearly all that such a draw takes is its start."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from pprs.smoothing._noise import Role, Streams
from pprs.smoothing._sharing import Samples
from pprs.smoothing.native import cuda, kernels

_FEW_NUMBERS = {"cpu": 1 << 16, "cuda": 1 << 20}  # at all samples: beyond, drawing takes longer


class Small(Protocol):
    """What is asked of a `Target`."""

    name: str
    parameter: Tensor
    sigma: float
    filters: bool
    samples: Samples
    together: Together | None

    @property
    def norms(self) -> Tensor | None: ...

    @property
    def streams(self) -> Streams: ...

    @property
    def is_whole(self) -> bool: ...

    def give_norms(self, norms: Tensor) -> None: ...


class Together:
    """Parameters of one type and device, all drawn when the first of them is needed."""

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
        several = (cuda if targets[0].parameter.is_cuda else kernels).several
        drawn = several(
            [target.streams.key for target in targets],
            Role.PARAMETER,
            [target.parameter.detach() for target in targets],
            [target.sigma for target in targets],
            [target.norms for target in targets],
            samples.count,
            samples.share,
        )
        self._drawn = dict(zip((target.name for target in targets), drawn or (), strict=False))

    def add(self, target: Small) -> None:
        """One more, before the first is needed."""
        self._targets.append(target)
        target.together = self


# Of each model, the parameters that its last pass perturbed as tensors. Where the next one does
# not, what was drawn for it is not used: a stream is the same however much of it is drawn.
_whole: WeakKeyDictionary[nn.Module, frozenset[str]] = WeakKeyDictionary()


def gather(targets: Sequence[Small], model: nn.Module | None) -> None:
    """Let the small ones of a pass be drawn together; and their norms be taken together."""
    whole = frozenset() if model is None else _whole.get(model, frozenset())
    groups: defaultdict[Any, Together] = defaultdict(Together)
    matrices: list[tuple[Small, Tensor]] = []
    for target in targets:
        parameter = target.parameter
        device, dimensions = parameter.device.type, parameter.dim()
        if parameter.dtype != torch.float32:
            continue
        few = 0 < parameter.numel() * target.samples.count <= _FEW_NUMBERS.get(device, 0)
        if few and (dimensions <= 1 or (device == "cpu" and target.name in whole)):
            groups[parameter.device].add(target)
        if target.filters and device == "cpu" and parameter.numel():
            matrices.append((target, filters(parameter)))
    norms = kernels.norms([matrix for _, matrix in matrices]) if matrices else None
    for (target, _), found in zip(matrices, norms or (), strict=False):
        target.give_norms(found)


def remember(targets: Iterable[Small], model: nn.Module | None) -> None:
    """Say what a pass of a model has drawn, for the next one."""
    if model is not None:
        _whole[model] = frozenset(target.name for target in targets if target.is_whole)


def filters(parameter: Tensor) -> Tensor:
    """The filters of a parameter, one a row: its rows of dimension 0, or all of a vector."""
    parameter = parameter.detach()
    return parameter.flatten(1) if parameter.dim() > 1 else parameter.reshape(1, -1)


def per_filter(numbers: Tensor, parameter: Tensor) -> Tensor:
    """A number for each filter, shaped to multiply the parameter: `(d0, 1, ...)` or `()`."""
    dimensions = parameter.dim()
    return numbers.view(-1, *[1] * (dimensions - 1)) if dimensions > 1 else numbers[0]
