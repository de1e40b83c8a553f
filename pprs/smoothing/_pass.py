"""What one pass knows of its parameters: which arguments they are, and their perturbed values."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.autograd.graph import Node
from torch.overrides import resolve_name

from pprs.smoothing import _autocast
from pprs.smoothing._checks import Refusal
from pprs.smoothing._copies import Copies
from pprs.smoothing._graph import nodes
from pprs.smoothing._one_by_one import has_no_rule, one_by_one
from pprs.smoothing._reading import reading
from pprs.smoothing._sharing import Samples
from pprs.smoothing._target import Target
from pprs.smoothing._vmap import Operand, Periodic, on_all_samples, varies
from pprs.smoothing._watch import unperturbed

Func: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class Weight:
    """A parameter as a function receives it.

    Args:
        target: the parameter.
        transposed: whether it is a transposed view of the parameter.
    """

    target: Target
    transposed: bool

    @property
    def name(self) -> str:
        """The parameter's full name."""
        return self.target.name

    def turned(self) -> Weight:
        """The same, transposed."""
        return Weight(self.target, not self.transposed)


class Pass:
    """A pass at all samples at once, seen from one sample under vmap.

    Args:
        targets: the parameters.
        samples: of X.
        sample: the sample's number, a scalar tensor that vmap maps over.
        periodic: inputs of the pass that repeat.
        state: names of other tensors that the model holds, by their ids.
    """

    def __init__(
        self,
        targets: Iterable[Target],
        samples: Samples,
        sample: Tensor,
        periodic: Sequence[Periodic] = (),
        state: Mapping[int, str] | None = None,
    ) -> None:
        self.targets = tuple(targets)
        self.samples = samples
        self.sample = sample
        self.device = sample.device.type
        self._weights = {id(t.parameter): Weight(t, transposed=False) for t in self.targets}
        self._state = state or {}
        self.read: set[int] = set()  # which of these were received
        self._values: dict[str, tuple[Tensor, int]] = {}  # with the version of their memory
        self._periodic = periodic
        self._views: list[Tensor] = []  # kept alive: their ids are keys
        self._entries: list[Node] = []  # where the graph may reach the parameters
        self.copies = Copies()

    def received(self, arguments: Iterable[Any]) -> bool:
        """Whether a parameter is among the arguments of a function, in lists or by itself."""
        received, weights, state = False, self._weights, self._state
        for argument in arguments:
            if id(argument) in weights:
                received = True
            elif isinstance(argument, tuple | list):
                received = self.received(argument) or received
            elif state and id(argument) in state:
                self.read.add(id(argument))
        return received

    def weight(self, argument: object) -> Weight | None:
        """The parameter that an argument is, if it is one."""
        return self._weights.get(id(argument))

    def view(self, weight: Weight, view: Tensor) -> Tensor:
        """Remember that `view` is a weight transposed, so that its uses are caught."""
        self._views.append(view)
        self._weights[id(view)] = weight.turned()
        return view

    def valued(self, argument: Any) -> Any:
        """The argument with every parameter in it replaced by its perturbed value."""
        weight = self._weights.get(id(argument))
        if weight is not None:
            return self._value(weight)
        if isinstance(argument, dict):
            return {key: self.valued(item) for key, item in argument.items()}
        if isinstance(argument, tuple | list) and self.received(argument):
            return type(argument)(self.valued(item) for item in argument)
        return argument

    def called(self, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a function gives, for all samples: under vmap, or where that cannot, one by one."""
        try:
            return _autocast.call(self.device, func, args, kwargs)
        except RuntimeError as error:
            changed = args[0] if args and is_in_place(func) else kwargs.get("out")
            if changed is None and has_no_rule(error):
                return one_by_one(self.sample, self.samples.count, func, args, kwargs)
            varied = any(map(_varies, (*args, *kwargs.values())))
            if varied or "vmap: " in str(error):  # a slice may hold one that varies
                wrong = reading(name_of(func), error)
                if wrong:
                    raise RuntimeError(wrong) from error
            differ = varied or "inplace randomness" in str(error)
            if isinstance(changed, Tensor) and not varies(changed) and differ:
                raise self._changed_by_samples(name_of(func), changed, error) from error
            raise

    def cycle(self, inputs: Tensor) -> int | None:
        """After how many samples inputs `(samples, ...)` are known to repeat."""
        return next((p.cycle for p in self._periodic if p.reaches(inputs)), None)

    def enter(self, tensor: Tensor) -> Tensor:
        """Say that this result reaches its parameter in a way that accounts for the noise."""
        if tensor.grad_fn is not None:
            self._entries.append(tensor.grad_fn)
        return tensor

    def close(self, *results: Tensor) -> None:
        """End the forward pass that gave `results`, seen from outside vmap.

        Raises:
            RuntimeError: if a result depends on an unperturbed parameter, or a perturbed copy of
                one was changed.
        """
        for target in self.targets:
            target.close()
            if target.name in self._values and self._values[target.name][1] != target.version:
                raise changes("an operation in place", target.name)
        names = {id(t.parameter): t.name for t in self.targets if t.parameter.requires_grad}
        entries = set(self._entries)
        for node in nodes(results):
            for following, _ in node.next_functions:
                reached = names.get(id(getattr(following, "variable", None)))
                if reached is not None and node not in entries:
                    raise unperturbed(reached, node.name())

    def _value(self, weight: Weight) -> Tensor:
        target = weight.target
        if target.name not in self._values:

            def body(parameter: Operand) -> Tensor:
                # The first use may come under no_grad, and the next may not.
                with torch.enable_grad():
                    stacked: Tensor = _Stacked.apply(parameter.value, target)  # type: ignore[no-untyped-call]
                    return self.enter(stacked)

            value = on_all_samples(body, self.sample, target.parameter)
            self._values[target.name] = value, target.version
        value, _ = self._values[target.name]
        return value.mT if weight.transposed else value

    def _changed_by_samples(self, name: str, changed: Tensor, error: Exception) -> RuntimeError:
        what = self._state.get(id(changed), f"a tensor of shape {tuple(changed.shape)}")
        known = what.startswith(("buffer", "attribute"))
        advice = (
            "call .eval() on its module, or update it outside the closure"
            if known
            else "write `x = x + y` for `x += y`, and torch.stack for assignments to parts"
        )
        if "inplace randomness" in str(error):
            advice = "draw a new one: m + s * torch.randn_like(s), for Normal(m, s).rsample() too"
        return RuntimeError(
            f"{name} changes {what}, which all perturbations share, in place by values that differ "
            f"between them: {advice} (torch: {error})"
        )


class _Stacked(torch.autograd.Function):
    """The perturbed parameters; each sample's gradient is one of the parameter's."""

    @staticmethod
    def forward(ctx: Any, parameter: Tensor, target: Target) -> Tensor:
        stacked = target.stacked()
        return stacked.view_as(stacked)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.sum(0), None


def changes(operation: str, parameter: str) -> Refusal:
    """The error for what would change a parameter."""
    return Refusal(
        f"{operation} changes parameter {parameter!r} while the loss is computed: a perturbed copy "
        f"cannot keep the change. Change it outside the closure"
    )


def name_of(func: Func) -> str:
    """What a function is called in errors."""
    name: str = resolve_name(func) or getattr(func, "__name__", repr(func))
    return name


@functools.lru_cache(maxsize=4096)
def is_in_place(func: Func) -> bool:
    """Whether a function changes its first argument."""
    if isinstance(func, OpOverload):
        return bool(func._schema.is_mutable)
    short = name_of(func).rpartition(".")[2]
    return short in _IN_PLACE or (short.endswith("_") and not short.endswith("__"))


_IN_PLACE = {
    *("__set__", "__setitem__", "__iadd__", "__iand__", "__ifloordiv__", "__ilshift__", "__imod__"),
    *("__imul__", "__ior__", "__ipow__", "__irshift__", "__isub__", "__itruediv__", "__ixor__"),
}


def _varies(argument: object) -> bool:
    return isinstance(argument, Tensor) and varies(argument)
