"""What a recording depends on besides the values of tensors, and what a pass changes of that."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pprs.smoothing._checks import start
from pprs.smoothing._closure_variables import places
from pprs.smoothing._modules import modules_of
from pprs.smoothing._perturbation import Perturbation
from pprs.smoothing._side_effects import is_object

_NUMBERS = frozenset([bool, int, float, str])

Function = Callable[..., Any]


def met(
    closure: Function,
    model: nn.Module,
    perturbation: Perturbation,
    step: int,
    batch: Sequence[Tensor],
) -> dict[str, Hashable]:
    """What a recording holds for: with anything else the closure is recorded anew."""
    referred = list(_referred(closure))
    modules = _modules(model, referred)
    tensors = [
        tensor
        for module in modules
        for tensor in (*module._parameters.values(), *module._buffers.values())
        if tensor is not None
    ]
    given = perturbation.sigma
    settings = given.values() if isinstance(given, Mapping) else [given]
    kinds = {tensor.device.type for tensor in tensors}
    return {
        "shapes of the batch": tuple(
            (t.shape, t.dtype, t.device, t.stride(), t.requires_grad) for t in batch
        ),
        "parameters or buffers": tuple((id(t), start(t), t.requires_grad) for t in tensors),
        "modules, or their modes or numbers": tuple(_numbers(modules)),
        "sigmas": tuple(setting(step) if callable(setting) else setting for setting in settings),
        "settings of torch": (
            torch.get_default_dtype(),
            *((torch.is_autocast_enabled(k), torch.get_autocast_dtype(k)) for k in kinds),
        ),
        "numbers or tensors in the closure": tuple(
            (name, (id(value), start(value)) if isinstance(value, Tensor) else value)
            for name, value in referred
        ),
    }


class Watched:
    """What a pass may change that the run of a recording would not, or not as often.

    Args:
        closure: that the pass runs.
        model: at which.
        batch: that it is given.
        around: what was met before it.
    """

    def __init__(
        self,
        closure: Function,
        model: nn.Module,
        batch: Sequence[Tensor],
        around: Mapping[str, Hashable],
    ) -> None:
        self._of, self._around = (closure, model, batch), around
        self._before = dict(_tensors(*self._of))
        self._versions = {name: _version(tensor) for name, tensor in self._before.items()}

    def changed(self, now: Mapping[str, Hashable]) -> str:
        """What the pass has changed: a tensor, or what is `met` now; empty if nothing."""
        after = dict(_tensors(*self._of))
        for name, tensor in self._before.items():
            own = after.get(name, tensor)
            if own is not tensor or _version(own) != self._versions[name]:
                return name
        return next((name for name, value in now.items() if value != self._around[name]), "")


def _modules(model: nn.Module, referred: Sequence[tuple[str, object]]) -> list[nn.Module]:
    known: set[nn.Module] = set()
    found = modules_of(model, known=known)
    for _, value in referred:
        if isinstance(value, nn.Module):
            found += modules_of(value, known=known)
    return [module for _, module in found]


def _numbers(modules: Sequence[nn.Module]) -> Iterator[Hashable]:
    """The modules, how many hooks they have, and the numbers and tensors among their attributes."""
    for module in modules:
        yield module
        yield len(module._forward_pre_hooks) + len(module._forward_hooks)
        for value in module.__dict__.values():
            kind = type(value)
            if kind in _NUMBERS:
                yield value
            elif kind is Tensor and value.grad_fn is None:  # else a pass has left it there
                yield id(value), start(value)


def _referred(closure: Function) -> Iterator[tuple[str, Any]]:
    """Numbers, tensors and modules that a closure refers to by name, or as part of such an object.

    Of objects and dictionaries these are the parts that its code names. Lists are left out: a
    closure may note its losses there.
    """
    for place, value in places(closure):
        if _is_looked_at(value):
            yield place.name, value
        elif isinstance(value, dict) or is_object(value):
            inside = value if isinstance(value, dict) else vars(value)
            for name in place.names:
                if name in inside and _is_looked_at(inside[name]):
                    yield f"{place.name}.{name}", inside[name]


def _is_looked_at(value: object) -> bool:
    return isinstance(value, bool | int | float | str | Tensor | nn.Module)


def _tensors(
    closure: Function, model: nn.Module, batch: Sequence[Tensor]
) -> Iterator[tuple[str, Tensor]]:
    yield from ((f"tensor {number} of the batch", tensor) for number, tensor in enumerate(batch))
    roots = [("", model)]
    for name, value in _referred(closure):
        if isinstance(value, Tensor):
            yield f"variable {name!r}", value
        elif isinstance(value, nn.Module):
            roots.append((name, value))
    known: set[nn.Module] = set()
    for prefix, root in roots:
        for name, module in modules_of(root, prefix, known):
            dot = f"{name}." if name else ""
            for key, buffer in module._buffers.items():
                if buffer is not None:
                    yield f"buffer {dot + key!r}", buffer
            for key, value in module.__dict__.items():
                if isinstance(value, Tensor) and value.grad_fn is None:
                    yield f"attribute {dot + key!r}", value


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def python_generators() -> Hashable:
    """What Python's and NumPy's generators will draw next."""
    numpy: Any = sys.modules.get("numpy")
    if numpy is None:
        return random.getstate()
    kind, keys, *rest = numpy.random.get_state()
    return random.getstate(), kind, keys.tobytes(), *rest
