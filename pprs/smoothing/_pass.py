"""Meeting the parameters of an unchanged model: every function that receives one is caught."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.overrides import TorchFunctionMode, resolve_name

from pprs.smoothing import _autocast
from pprs.smoothing._draws import Lanes, Target
from pprs.smoothing._lanes import Operand, Periodic, on_all_lanes


@dataclass(frozen=True)
class Weight:
    """A parameter as a function receives it.

    Args:
        target: the parameter.
        transposed: whether it is a transposed view of the parameter.
    """

    target: Target
    transposed: bool


Func = Callable[..., Any]
Args = tuple[Any, ...]
Kwargs = dict[str, Any]
Rule = Callable[["Smoothed", Func, Args, Kwargs], Any]
Rules = Mapping[Func, Rule]


class Smoothed(TorchFunctionMode):
    """Inside the block, functions see the parameters perturbed, each lane of a vmap its own way.

    A function that receives a parameter follows its rule, which may decline by returning
    ``NotImplemented``; all others get the perturbed parameter as a tensor.

    Args:
        targets: the parameters' shares of the pass.
        lanes: the perturbations.
        lane: the number of the lane, a scalar tensor that vmap maps over.
        rules: for functions that receive a parameter.
        without_parameters: for functions that do not.
        periodic: inputs of the pass that repeat.
    """

    def __init__(
        self,
        targets: Iterable[Target],
        lanes: Lanes,
        lane: Tensor,
        rules: Rules,
        without_parameters: Rules,
        periodic: Sequence[Periodic] = (),
    ) -> None:
        super().__init__()
        self.targets = tuple(targets)
        self.lanes = lanes
        self.lane = lane
        self._rules, self._without_parameters = rules, without_parameters
        self._weights = {id(t.parameter): Weight(t, transposed=False) for t in self.targets}
        self._values: dict[str, Tensor] = {}
        self._periodic = periodic
        self._views: list[Tensor] = []  # kept alive: their ids are keys
        self._entries: list[Node] = []  # where the graph may reach the parameters

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        received = self._received(args) or (kwargs and self._received(kwargs.values()))
        rule = (self._rules if received else self._without_parameters).get(func)
        result = NotImplemented if rule is None else rule(self, func, args, kwargs)
        if result is not NotImplemented:
            return result
        if received:
            self._refuse_changes(func, args, kwargs)
            args, kwargs = self.valued(args), self.valued(kwargs)
        return _autocast.call(self.lane.device.type, func, args, kwargs)

    def weight(self, argument: object) -> Weight | None:
        """The parameter that an argument is, if it is one."""
        return self._weights.get(id(argument))

    def view(self, weight: Weight, view: Tensor) -> Tensor:
        """Remember that ``view`` is a weight transposed, so that its uses are caught."""
        self._views.append(view)
        self._weights[id(view)] = Weight(weight.target, not weight.transposed)
        return view

    def valued(self, argument: Any) -> Any:
        """The argument with every parameter in it replaced by its perturbed value."""
        weight = self._weights.get(id(argument))
        if weight is not None:
            return self._value(weight)
        if isinstance(argument, dict):
            return {key: self.valued(item) for key, item in argument.items()}
        if isinstance(argument, tuple | list) and self._received(argument):
            return type(argument)(self.valued(item) for item in argument)
        return argument

    def cycle(self, inputs: Tensor) -> int | None:
        """After how many lanes inputs ``(lanes, ...)`` are known to repeat."""
        return next((p.cycle for p in self._periodic if p.reaches(inputs)), None)

    def enter(self, tensor: Tensor) -> Tensor:
        """Say that this result reaches its parameter in a way that accounts for the noise."""
        if tensor.grad_fn is not None:
            self._entries.append(tensor.grad_fn)
        return tensor

    def close(self, *results: Tensor) -> None:
        """End the forward pass that gave ``results``, seen from outside vmap.

        Raises:
            RuntimeError: if a result depends on an unperturbed parameter.
        """
        for target in self.targets:
            target.open = False
            target.drawn = None
        names = {id(t.parameter): t.name for t in self.targets if t.parameter.requires_grad}
        entries = set(self._entries)
        seen, stack = set(), [result.grad_fn for result in results]
        while stack:
            node = stack.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            for following, _ in node.next_functions:
                reached = names.get(id(getattr(following, "variable", None)))
                if reached is not None and node not in entries:
                    raise RuntimeError(
                        f"parameter {reached!r} was used unperturbed, by {node.name()}: it reached "
                        f"an operation past torch's functions (a scripted or compiled module?). "
                        f"Use the plain Python module, or freeze the parameter"
                    )
                stack.append(following)

    def _received(self, arguments: Iterable[Any]) -> bool:
        for argument in arguments:
            if id(argument) in self._weights:
                return True
            if isinstance(argument, tuple | list) and self._received(argument):
                return True
        return False

    def _value(self, weight: Weight) -> Tensor:
        target = weight.target
        value = self._values.get(target.name)
        if value is None:

            def body(parameter: Operand) -> Tensor:
                stacked: Tensor = _Stacked.apply(parameter.value, target)  # type: ignore[no-untyped-call]
                return self.enter(stacked)

            value = on_all_lanes(body, self.lane, target.parameter)
            self._values[target.name] = value
        return value.mT if weight.transposed else value

    def _refuse_changes(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        name = resolve_name(func) or getattr(func, "__name__", repr(func))
        short = name.rpartition(".")[2]
        changes = short == "__set__" or short in _IN_PLACE_OPERATORS
        changes = changes or (short.endswith("_") and not short.endswith("__"))
        changed = self.weight(args[0]) if changes and args else None
        changed = changed or self.weight(kwargs.get("out"))
        if changed is not None:
            raise RuntimeError(
                f"{name} changes parameter {changed.target.name!r} while the loss is computed: a "
                f"perturbed copy cannot keep the change. Change it outside the closure"
            )


_IN_PLACE_OPERATORS = {
    "__setitem__",
    "__iadd__",
    "__iand__",
    "__ifloordiv__",
    "__ilshift__",
    "__imod__",
    "__imul__",
    "__ior__",
    "__ipow__",
    "__irshift__",
    "__isub__",
    "__itruediv__",
    "__ixor__",
}


class _Stacked(torch.autograd.Function):
    """The perturbed parameters; each lane's gradient is one of the parameter's."""

    @staticmethod
    def forward(ctx: Any, parameter: Tensor, target: Target) -> Tensor:
        stacked = target.stacked()
        return stacked.view_as(stacked)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.sum(0), None
