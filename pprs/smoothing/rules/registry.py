"""How a rule for a torch function is registered, and what it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from torch._library.custom_ops import CustomOpDef
from torch._ops import OpOverload, OpOverloadPacket
from torch.overrides import TorchFunctionMode

from pprs.smoothing._pass import Func, Pass, Weight

Rule: TypeAlias = Callable[..., Any]
R = TypeVar("R", bound=Rule)


@dataclass(slots=True)
class Call:
    """A call of a torch function in the closure, as its rule sees it.

    Args:
        function: that was called.
        current: the pass that runs.
        mode: which catches the calls in the closure, but not those in a rule.

    Example:
        >>> import torch
        >>> import pprs
        >>> def doubled(x, weight):
        ...     return x @ weight * 2
        >>> doubled = torch.overrides.wrap_torch_function(lambda x, weight: (x, weight))(doubled)
        >>> def as_product(call, x, weight):
        ...     return call.inside(torch.matmul, x, weight) * 2
        >>> doubled_rule = pprs.smoothing.rule(doubled)(as_product)
        >>> model = torch.nn.ParameterList([torch.ones(2, 1)])
        >>> loss = pprs.smooth(
        ...     lambda: doubled(torch.ones(3, 2), model[0]).mean(), model, sigma=0.0
        ... )
        >>> round(loss.item(), 4)
        4.0
    """

    function: Func
    current: Pass
    mode: TorchFunctionMode

    def parameter(self, argument: object) -> Weight | None:
        """The perturbed parameter that an argument is, if it is one: its `name`, its shape."""
        return self.current.weight(argument)

    def perturbed(self, argument: Any) -> Any:
        """An argument, parameters in it replaced by their values, which differ between samples."""
        return self.current.valued(argument)

    def default(self, *args: Any, **kwargs: Any) -> Any:
        """What the function gives of arguments at perturbed parameters, as without a rule."""
        current = self.current
        return current.called(self.function, current.valued(args), current.valued(kwargs))

    def inside(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function as if the closure did: what it does with parameters follows the rules."""
        with self.mode:
            return function(*args, **kwargs)


RULES: dict[Any, Rule] = {}
"""The rules for calls that receive a parameter."""
OF_ANY_CALL: dict[Any, Rule] = {}
"""Those for calls that do not."""


def rule(*functions: Any, any_call: bool = False) -> Callable[[R], R]:
    r"""Register what becomes of torch functions that receive a perturbed parameter.

    The function below it is called in their place, once for all perturbations, with a
    `Call` and then the arguments, where a parameter is still the parameter. It returns what
    the function would give at one perturbation, or `NotImplemented`: then the function is called
    as without a rule, at perturbed parameters. In a rule nothing is caught: parameters are handed
    on by `Call.inside`, to functions that have rules themselves, or as tensors, by
    `Call.perturbed`. One that is used otherwise is refused, since its noise would be missing.

    Args:
        functions: torch's, operators of `torch.library`, or Python functions under
            `torch.overrides.wrap_torch_function`. A rule that one had before is replaced.
        any_call: also for calls that receive no parameter, but maybe what came of one.

    Raises:
        TypeError: for what cannot be called.

    Example:
        >>> import torch, pprs
        >>> import torch.nn.functional as F
        >>> from torch.overrides import wrap_torch_function
        >>> @wrap_torch_function(lambda x, weight, factor: (x, weight))
        ... def scaled(x, weight, factor):
        ...     return torch.einsum("ni,oi->no", x, weight) * factor
        >>> @pprs.smoothing.rule(scaled)  # a linear map, whose noise need not be formed
        ... def as_linear_map(call, x, weight, factor):
        ...     return call.inside(F.linear, x, weight) * factor
        >>> weight = torch.nn.Parameter(torch.ones(2, 3))
        >>> model = torch.nn.ParameterList([weight])
        >>> loss = pprs.smooth(lambda: scaled(torch.ones(4, 3), weight, 2.0).mean(), model, 0.1)
        >>> loss.backward()
        >>> weight.grad
        tensor([[1., 1., 1.],
                [1., 1., 1.]])
    """
    keys = [key for function in functions for key in _keys(function)]

    def register(registered: R) -> R:
        RULES.update(dict.fromkeys(keys, registered))
        if any_call:
            OF_ANY_CALL.update(dict.fromkeys(keys, registered))
        return registered

    return register


def _keys(function: Any) -> list[Any]:
    """As what a call of a function is seen: an operator has a name, and overloads under it."""
    if isinstance(function, CustomOpDef):
        function = function._opoverload
    if isinstance(function, OpOverload):
        return [function, function.overloadpacket]
    if isinstance(function, OpOverloadPacket):
        overloads: list[str] = function.overloads()  # type: ignore[no-untyped-call]
        return [function, *(getattr(function, name) for name in overloads)]
    if not callable(function):
        raise TypeError(f"a rule is registered for functions, got {type(function).__name__}")
    return [function]
