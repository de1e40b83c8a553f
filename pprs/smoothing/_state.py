"""What a forward pass may leave in a model besides its gradients, and how that is put right."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as everywhere
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from pprs.smoothing._lanes import last_lane, varies

_STANDARD = frozenset(nn.Module().__dict__) - {"training"}
_PLAIN = {int, float, str, bool, type(None), torch.device, torch.dtype}
_DEPTH = 4  # of containers in containers that are looked into
_LARGE = 1000  # items: such a container is a table, not what a pass leaves


class State:
    """The buffers and attributes of a model's modules before a pass.

    Args:
        model: the model.
        lanes: how many perturbed passes run as one.
        thorough: also what the tensors hold: a pass may change them in place.

    Raises:
        RuntimeError: if a module has backward hooks, which vmap would not run.
    """

    def __init__(self, model: nn.Module, lanes: int, thorough: bool) -> None:
        self._lanes = lanes
        self._modules: list[tuple[str, nn.Module, dict[str, Any], dict[str, Any]]] = []
        self._contents: list[tuple[Any, Any]] = []
        self._clones: list[tuple[Tensor, Tensor]] = []
        self.names: dict[int, str] = {}
        """Of the tensors that were there, by their ids."""
        hooked = everywhere._global_backward_hooks or everywhere._global_backward_pre_hooks
        for name, module in model.named_modules():
            attributes = module.__dict__
            if hooked or attributes["_backward_hooks"] or attributes["_backward_pre_hooks"]:
                raise _has_backward_hooks(name, module)
            self._modules.append((name, module, attributes.copy(), module._buffers.copy()))
            for key, value in attributes.items():
                if key not in _STANDARD and type(value) not in _PLAIN:
                    self._note(f"attribute {_joined(name, key)!r}", value, thorough)
            for key, buffer in module._buffers.items():
                self._note(f"buffer {_joined(name, key)!r}", buffer, thorough)

    def restore(self) -> None:
        """Put back all that was there."""
        for _, module, attributes, buffers in self._modules:
            _put_back(module.__dict__, attributes)
            _put_back(module._buffers, buffers)
        for container, before in self._contents:
            _refill(container, before)
        for tensor, before in self._clones:
            if not torch.equal(tensor, before):
                tensor.detach().copy_(before)

    def settle(self, read: set[int]) -> None:
        """Of what varies over the lanes, leave that of the last one.

        That is what the passes would leave if they ran one after the other.

        Args:
            read: ids of those tensors in :attr:`names` that the pass received.

        Raises:
            RuntimeError: for a buffer; and for what the pass has read before it set it, since each
                lane should then have gone on from the one before.
        """
        for name, module, attributes, _ in self._modules:
            for key, buffer in module._buffers.items():
                if buffer is not None and varies(buffer):
                    raise self._refusal("buffer", _joined(name, key))
            for key, value in list(module.__dict__.items()):
                if key in _STANDARD or type(value) in _PLAIN:
                    continue
                if any(map(varies, _tensors(value))):
                    before = self._before(attributes.get(key))
                    if any(id(tensor) in read for tensor in before):
                        raise self._refusal("attribute", _joined(name, key))
                    _settle(module, key, value)

    def _note(self, name: str, value: Any, thorough: bool) -> None:
        self._contents += ((container, copy.copy(container)) for container in _containers(value))
        for tensor in _tensors(value):
            self.names[id(tensor)] = name
            if thorough:
                self._clones.append((tensor, tensor.detach().clone()))

    def _before(self, value: Any) -> Iterator[Tensor]:
        contents = {id(container): before for container, before in self._contents}
        return _tensors(contents.get(id(value), value))

    def _refusal(self, kind: str, name: str) -> RuntimeError:
        return RuntimeError(
            f"{kind} {name!r} is set from perturbed values while the loss is computed: it cannot "
            f"go on from all {self._lanes} perturbations that run together. Call .eval() on its "
            f"module, or update it outside the closure"
        )


def _settle(module: nn.Module, key: str, value: Any) -> None:
    for hook in module._forward_pre_hooks.values():
        names = {getattr(hook, "name", None), getattr(hook, "_tensor_name", None)}
        if isinstance(hook, WeightNorm | SpectralNorm | BasePruningMethod) and key in names:
            hook(module, None)  # the weight that it computes, from the unperturbed parameters
            return
    module.__dict__[key] = _of_last_lane(value)


def _of_last_lane(value: Any, depth: int = _DEPTH) -> Any:
    if isinstance(value, Tensor):
        return last_lane(value)
    if depth and isinstance(value, tuple):
        items = [_of_last_lane(item, depth - 1) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if depth and isinstance(value, list | dict | deque) and len(value) <= _LARGE:
        for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
            value[key] = _of_last_lane(item, depth - 1)
    return value


def _containers(value: Any, depth: int = _DEPTH) -> Iterator[Any]:
    if isinstance(value, list | dict | deque) and len(value) <= _LARGE:
        yield value
    for item in _items(value) if depth else ():
        yield from _containers(item, depth - 1)


def _tensors(value: Any, depth: int = _DEPTH) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    for item in _items(value) if depth else ():
        yield from _tensors(item, depth - 1)


def _items(value: Any) -> Any:
    if not isinstance(value, list | tuple | dict | deque) or len(value) > _LARGE:
        return ()
    return value.values() if isinstance(value, dict) else value


def _refill(container: Any, before: Any) -> None:
    container.clear()
    (container.update if isinstance(container, dict) else container.extend)(before)


def _put_back(now: dict[str, Any], before: dict[str, Any]) -> None:
    for key in now.keys() - before.keys():
        del now[key]
    now.update(before)


def _has_backward_hooks(name: str, module: nn.Module) -> RuntimeError:
    return RuntimeError(
        f"{type(module).__name__} {name!r} has backward hooks (or torch has some for all modules): "
        f"torch.func.vmap, in which the perturbations run together, does not run them. Remove them "
        f"while smoothing"
    )


def _joined(module: str, name: str) -> str:
    return f"{module}.{name}" if module else name
