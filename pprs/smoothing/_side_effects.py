"""What a forward pass may leave in a model besides its gradients, and how that is put right."""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules import module as everywhere
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from pprs.smoothing._closure_variables import places
from pprs.smoothing._modules import modules_of
from pprs.smoothing._vmap import last_sample, varies

_STANDARD = frozenset(nn.Module().__dict__) - {"training"}
_TRACED = _STANDARD | fx.GraphModule({}, fx.Graph()).__dict__.keys()
_DEPTH = 4  # of containers in containers that are looked into
_FROM_CLOSURE = 3  # where a whole program may be in reach
_NOT_LOOKED_INTO = {"torch", "pprs", "numpy", "builtins", "functools", "collections", "logging"}
_LARGE = 1000  # items: such a container is a table, not what a pass leaves


class SideEffects:
    """The buffers and attributes of a model's modules, and what a closure refers to, before a pass.

    Args:
        model: the model.
        samples: how many run side by side.
        thorough: also what the model's tensors hold: a pass may change them in place.
        closure: whose variables are looked after too, with the modules and objects among them.

    Raises:
        RuntimeError: if a module of the model has backward hooks, which vmap would not run.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: int,
        thorough: bool,
        closure: Callable[..., Any] | None = None,
    ) -> None:
        self._samples = samples
        self._modules: list[tuple[str, nn.Module, dict[str, Any], dict[str, Any]]] = []
        self._known: set[nn.Module] = set()
        self._seen: set[int] = set()
        self._contents: dict[int, tuple[Any, Any]] = {}
        self._clones: list[tuple[Tensor, Tensor]] = []
        self.names: dict[int, str] = {}
        """The names of the tensors that were there, by their ids."""
        self._keep(model, "", thorough)
        self._of_model = set(self._contents)
        functions = [] if closure is None else [closure]
        for name, module, _, _ in self._modules:
            _refuse_hooks(name, module)
            if module._forward_pre_hooks or module._forward_hooks:
                functions += module._forward_pre_hooks.values()
                functions += module._forward_hooks.values()
        self._places = [found for function in functions for found in places(function)]
        for place, value in self._places:
            if _is_leaf(type(value)):
                continue
            for module in self._note(f"variable {place.name!r}", value, False, _FROM_CLOSURE):
                self._keep(module, place.name, False)

    def restore(self, *, everything: bool = False) -> None:
        """Put back all that was there.

        Args:
            everything: in the closure's variables, too, not only where perturbed values are.
        """
        for _, module, attributes, buffers in self._modules:
            _put_back(module.__dict__, attributes)
            _put_back(module._buffers, buffers)
        for key, (container, before) in self._contents.items():
            if everything or key in self._of_model or _holds_samples(container):
                _refill(container, before)
        for place, before in self._places:
            now = place.read()
            if now is not before and (everything or _holds_samples(now)):
                place.write(before)
        for tensor, before in self._clones:
            if not torch.equal(tensor, before):
                tensor.detach().copy_(before)

    def settle(self, read: set[int]) -> None:
        """Leave the last sample's values of what varies over the samples.

        That is what the passes would leave if they ran one after the other.

        Args:
            read: ids of those tensors in `names` that the pass received.

        Raises:
            RuntimeError: for a buffer; and for what the pass has read before it set it, since each
                sample should then have gone on from the one before.
        """
        self._read = read
        seen: set[int] = set()
        for name, module, attributes, _ in self._modules:
            for key, buffer in module._buffers.items() if module._buffers else ():
                if buffer is not None and varies(buffer):
                    raise self._refusal(f"buffer {_joined(name, key)!r}")
            for key in _own(module):
                value, label = module.__dict__[key], f"attribute {_joined(name, key)!r}"
                settled = self._settled(value, attributes.get(key), label, _DEPTH, seen)
                if settled is not value and not _computed(module, key):
                    module.__dict__[key] = settled
        for place, before in self._places:
            value = place.read()
            if not _is_leaf(type(value)):
                label = f"variable {place.name!r}"
                settled = self._settled(value, before, label, _FROM_CLOSURE, seen)
                if settled is not value:
                    place.write(settled)

    def _settled(self, value: Any, before: Any, name: str, depth: int, seen: set[int]) -> Any:
        """A value, once `before`, with the last sample's tensors; containers change in place."""
        if isinstance(value, Tensor):
            if not varies(value):
                return value
            if any(id(tensor) in self._read for tensor in self._tensors_before(before)):
                raise self._refusal(name)
            return last_sample(value)
        if isinstance(value, tuple):
            items = (
                [self._settled(item, before, name, depth - 1, seen) for item in value]
                if depth
                else []
            )
            if all(new is old for new, old in zip(items, value, strict=False)):
                return value
            return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
        inside = vars(value) if is_object(value) else value
        if not depth or not _is_container(inside) or id(inside) in seen:
            return value
        seen.add(id(inside))
        _, kept = self._contents.get(id(inside), (None, None))
        for key, item in list(inside.items() if isinstance(inside, dict) else enumerate(inside)):
            if not _is_leaf(type(item)):
                old = kept.get(key) if isinstance(kept, dict) else before if kept is None else kept
                settled = self._settled(item, old, name, depth - 1, seen)
                if settled is not item:
                    inside[key] = settled
        return value

    def _tensors_before(self, value: Any) -> Iterator[Tensor]:
        contents = {name: kept for name, (_, kept) in self._contents.items()}
        reached = _reached(value, _DEPTH, set(), contents)
        return (item for item in reached if isinstance(item, Tensor))

    def _keep(self, root: nn.Module, prefix: str, thorough: bool) -> None:
        for name, module in modules_of(root, prefix, self._known):
            attributes = module.__dict__
            self._modules.append((name, module, attributes.copy(), module._buffers.copy()))
            for key in _own(module):
                self._note(f"attribute {_joined(name, key)!r}", attributes[key], thorough)
            for key, buffer in module._buffers.items() if module._buffers else ():
                self._note(f"buffer {_joined(name, key)!r}", buffer, thorough)

    def _note(self, name: str, value: Any, thorough: bool, depth: int = _DEPTH) -> list[nn.Module]:
        """Keep what is in a value; return the modules in it."""
        modules = []
        for item in _reached(value, depth, self._seen):
            if isinstance(item, Tensor):
                self.names[id(item)] = name
                if thorough:
                    self._clones.append((item, item.detach().clone()))
            elif isinstance(item, nn.Module):
                modules.append(item)
            elif isinstance(item, list | dict | deque):
                kept = dict(item) if isinstance(item, dict) else list(item)
                self._contents[id(item)] = item, kept
        return modules

    def _refusal(self, name: str) -> RuntimeError:
        return RuntimeError(
            f"{name} is set from perturbed values while the loss is computed: it cannot "
            f"go on from all {self._samples} perturbations that run together. Call .eval() on its "
            f"module, or update it outside the closure"
        )


def _own(module: nn.Module) -> list[str]:
    """The attributes in which a pass may leave something, but for those of all modules."""
    attributes = module.__dict__
    standard = _TRACED if isinstance(module, fx.GraphModule) else _STANDARD
    own = itertools.filterfalse(standard.__contains__, attributes)
    return [key for key in own if not _is_leaf(type(attributes[key]))]


def _computed(module: nn.Module, key: str) -> bool:
    """Set an attribute that a hook computes, from the unperturbed parameters, if it is one."""
    for hook in module._forward_pre_hooks.values():
        names = {getattr(hook, "name", None), getattr(hook, "_tensor_name", None)}
        if isinstance(hook, WeightNorm | SpectralNorm | BasePruningMethod) and key in names:
            hook(module, None)
            return True
    return False


def _reached(
    value: Any, depth: int, seen: set[int], contents: Mapping[int, Any] | None = None
) -> Iterator[Any]:
    """Tensors, modules and containers in a value, each once; of objects, their dictionaries.

    Args:
        value: anything.
        depth: how many containers deep.
        seen: ids of containers that are left out, and to which those found are added.
        contents: what containers held, by their ids, where that differs from what they hold.
    """
    if isinstance(value, Tensor | nn.Module):
        yield value
        return
    inside = vars(value) if is_object(value) else value
    if not (isinstance(inside, tuple) or _is_container(inside)) or id(inside) in seen:
        return
    seen.add(id(inside))
    yield inside
    items = inside if contents is None else contents.get(id(inside), inside)
    if depth:
        for item in list(items.values()) if isinstance(items, dict) else items:
            if not _is_leaf(type(item)):
                yield from _reached(item, depth - 1, seen, contents)


def _holds_samples(value: Any) -> bool:
    reached = _reached(value, _FROM_CLOSURE, set())
    return any(isinstance(item, Tensor) and varies(item) for item in reached)


def _is_container(value: Any) -> bool:
    return isinstance(value, list | dict | deque) and len(value) <= _LARGE


def is_object(value: Any) -> bool:
    """Whether it is one of a class that somebody wrote, and may hold what a pass left there."""
    return _is_written(type(value)) and hasattr(value, "__dict__")


def _written(kind: type) -> bool:
    known = issubclass(kind, type | list | tuple | dict | deque | nn.Module | Tensor)
    return not known and kind.__module__.partition(".")[0] not in _NOT_LOOKED_INTO


def _leaf(kind: type) -> bool:
    """Whether nothing that a pass leaves can be in values of this class."""
    holds = issubclass(kind, list | tuple | dict | deque | nn.Module | Tensor)
    return not holds and not _is_written(kind)


_is_written: Callable[[type], bool] = functools.lru_cache(4096)(_written)
_is_leaf: Callable[[type], bool] = functools.lru_cache(4096)(_leaf)


def _refill(container: Any, before: Any) -> None:
    now = dict(container) if isinstance(container, dict) else list(container)
    if [*map(id, _items(now))] == [*map(id, _items(before))]:
        return
    container.clear()
    (container.update if isinstance(container, dict) else container.extend)(before)


def _items(kept: dict[Any, Any] | list[Any]) -> Iterator[Any]:
    return itertools.chain(kept, kept.values()) if isinstance(kept, dict) else iter(kept)


def _put_back(now: dict[str, Any], before: dict[str, Any]) -> None:
    for key in now.keys() - before.keys():
        del now[key]
    now.update(before)


def _refuse_hooks(name: str, module: nn.Module) -> None:
    hooked = everywhere._global_backward_hooks or everywhere._global_backward_pre_hooks
    if hooked or module._backward_hooks or module._backward_pre_hooks:
        raise RuntimeError(
            f"{type(module).__name__} {name!r} has backward hooks (or torch has some for all "
            f"modules): torch.func.vmap, in which the perturbations run together, does not run "
            f"them. Remove them while smoothing"
        )


def _joined(module: str, name: str) -> str:
    return f"{module}.{name}" if module else name
