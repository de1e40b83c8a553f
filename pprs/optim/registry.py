"""The optimizers that `pprs train`, `pprs compare` and the study know by name.

A further one is a line of `OPTIMIZERS`; the help of `--optimizer` names them, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch.optim import SGD, Adam, AdamW, Optimizer

from pprs.optim._agd import AGD
from pprs.optim._uncompiled import uncompiled

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class KnownOptimizer(Generic[T_co]):
    """An optimizer that has a name.

    Args:
        label: what tables and plots call it.
        constructor: takes the parameters, the step size `lr`, and the options by name.
        options: the names of the options that can be set.
        sequence: whether its momentum may be `"nesterov"`, the sequence of the convex theory.
        adaptive: whether it scales each coordinate's step, so that `DEFAULT_SIGMA` suits it.
        lr: the step size where none is given.
        centre: the one around which `pprs compare` tries others. It is larger: the runs are short.
    """

    label: str
    constructor: Callable[..., T_co]
    options: tuple[str, ...] = ()
    sequence: bool = False
    adaptive: bool = False
    lr: float = 0.01
    centre: float = 0.03

    def make(self, parameters: object, lr: float, settings: Mapping[str, Any]) -> T_co:
        """The optimizer.

        Args:
            parameters: as for any torch optimizer.
            lr: step size.
            settings: options by name; those that it does not have are left out.
        """
        chosen = {name: value for name, value in settings.items() if name in self.options}
        with uncompiled():
            return self.constructor(parameters, lr=lr, **chosen)


_ADAPTIVE: Mapping[str, Any] = {
    "options": ("weight_decay", "foreach"),
    "adaptive": True,
    "lr": 0.001,
    "centre": 0.003,
}
OPTIMIZERS: Mapping[str, KnownOptimizer[Optimizer]] = {
    "agd": KnownOptimizer("AGD", AGD, ("momentum", "foreach"), sequence=True),
    "sgd": KnownOptimizer("SGD", SGD, ("momentum", "weight_decay", "foreach")),
    "adam": KnownOptimizer("Adam", Adam, **_ADAPTIVE),
    "adamw": KnownOptimizer("AdamW", AdamW, **_ADAPTIVE),
}
"""By the names that commands take."""


def evaluating(optimizer: object) -> AbstractContextManager[None]:
    """The parameters hold the method's result inside the block: $y_t$ for AGD."""
    enter: Callable[[], AbstractContextManager[None]]
    enter = getattr(optimizer, "evaluating", nullcontext)
    return enter()
