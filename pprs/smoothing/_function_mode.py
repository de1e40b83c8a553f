"""Meeting the parameters of an unchanged model: every function that receives one is caught."""

from __future__ import annotations

from typing import Any

from torch.overrides import TorchFunctionMode

from pprs.smoothing._pass import Func, Pass, changes, is_in_place, name_of
from pprs.smoothing._vmap import internally
from pprs.smoothing.rules import OF_ANY_CALL, RULES, Call


class Smoothed(TorchFunctionMode):
    """Inside the block, functions see the parameters perturbed, each sample of a vmap its own way.

    A function that receives a parameter follows its rule, which may decline by returning
    `NotImplemented`; all others get the perturbed parameter as a tensor.

    Args:
        current: the pass.
    """

    def __init__(self, current: Pass) -> None:
        super().__init__()
        self.current = current

    def __torch_function__(self, func: Func, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        current, kwargs = self.current, kwargs or {}
        received = current.received(args)
        if kwargs:
            received = current.received(kwargs.values()) or received
        if current.copies:
            internally(current.copies.check, (*args, *kwargs.values()))
        rule = (RULES if received else OF_ANY_CALL).get(func)
        if rule is not None:
            result = rule(Call(func, current, self), *args, **kwargs)
            if result is not NotImplemented:
                return result
        if not received:
            return current.called(func, args, kwargs)
        self._refuse_changes(func, args, kwargs)
        return current.called(func, current.valued(args), current.valued(kwargs))

    def _refuse_changes(self, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        changed = [*args[:1]] if is_in_place(func) else []
        if not changed and "out" not in kwargs:
            return
        if changed and isinstance(changed[0], tuple | list):
            changed = [*changed[0]]  # torch._foreach_...
        weights = [self.current.weight(tensor) for tensor in (*changed, kwargs.get("out"))]
        names = [weight.name for weight in weights if weight]
        function = name_of(func)
        if names and function.endswith(".grad.__set__"):
            raise RuntimeError(
                f"the closure sets the gradient of parameter {names[0]!r}: let it "
                f"return the loss only, and call zero_grad() and backward() outside"
            )
        if names:
            raise changes(function, names[0])
