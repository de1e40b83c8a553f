"""The optimizer and its learning-rate schedule."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from pprs.optim import Evaluator, SearchedStep
from pprs.optim.registry import OPTIMIZERS, evaluating
from pprs.training.config import DECAYS, TrainConfig
from pprs.training.losses import LOSSES, Loss
from pprs.training.user_errors import check_signature, user_code
from pprs.training.user_functions import named

T = TypeVar("T")
_TUNED = ("momentum", "weight_decay")
_LR = 0.01  # of an optimizer of the user's that asks for one, where none is given
_START = 1e-3  # which a search replaces in its first step


def loss_function(name: str) -> Loss:
    """A loss that the command line knows, or a user's."""
    if name in LOSSES:
        return LOSSES[name]
    function: Loss = named("loss", name)
    called = "(outputs, targets)"
    check_signature(f"the loss, {name},", function, (None, None), called=called)
    return function


class Learning:
    """An optimizer with its learning-rate schedule.

    Args:
        config: the settings.
        parameters: this process's, possibly none.
        steps: of the whole run.
        evaluator: takes their gradients where the step size is searched.

    Attributes:
        searched: the step whose size is searched, if it is.

    Raises:
        ValueError: if a user's optimizer or scheduler cannot be made.
    """

    def __init__(
        self,
        config: TrainConfig,
        parameters: Iterable[nn.Parameter],
        steps: int,
        evaluator: Evaluator | None = None,
    ) -> None:
        self._name, self._known = config.optimizer, config.optimizer in OPTIMIZERS
        self._tuned = {name: getattr(config, name) for name in _TUNED}
        # A group, which unlike a list of parameters may be empty: that of a stage without any.
        self.optimizer = _optimizer(config, [{"params": list(parameters)}])
        self._tuned["lr"] = "search" if config.lr == "search" else self.lr
        self.searched: SearchedStep | None = None
        self._factor: Callable[[int], float] | None = None
        self._scheduler: LRScheduler | None = None
        if config.lr == "search":
            assert evaluator is not None
            self.searched = SearchedStep(self.optimizer, evaluator, clip=config.clip)
        elif config.decay in DECAYS:
            self._factor = _course(config.decay, config.warmup, steps)
            self._scheduler = LambdaLR(self.optimizer, self._factor)
        else:
            self._scheduler = _scheduler(config.decay, self.optimizer)

    @property
    def saved(self) -> Optimizer | SearchedStep:
        """What a checkpoint holds."""
        return self.searched or self.optimizer

    @property
    def lr(self) -> float:
        """The step size of the next step; of the last one, where it is searched."""
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self) -> None:
        """Take a step, and move the step size on."""
        self.optimizer.step()
        if self._scheduler is not None:
            self._scheduler.step()

    def try_step(self) -> None:
        """Take a step by a user's optimizer with the gradients that are there.

        Raises:
            ValueError: if it fails.
        """
        if self._known:
            return
        with user_code(f"optimizer={self._name} failed to take a step"):
            if self.searched is not None:
                self.searched.step()
            else:
                self.optimizer.step()

    def evaluating(self) -> AbstractContextManager[None]:
        """The parameters hold the method's result inside the block: $y_t$ for AGD."""
        return evaluating(self.optimizer)

    def state(self) -> dict[str, Any]:
        """What `load` needs besides the optimizer's state: plain numbers."""
        decay = {} if self._scheduler is None else self._scheduler.state_dict()
        return {"decay": decay, "tuned": self._tuned}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, once the optimizer has its own.

        What was set to another value since then is taken over; all else is as it was.
        """
        before = state["tuned"]
        for name in _TUNED:
            if self._tuned[name] != before[name]:
                for group in self.optimizer.param_groups:
                    if name in group:
                        group[name] = self._tuned[name]
        if self._scheduler is None:
            return
        self._scheduler.load_state_dict(dict(state["decay"]))
        if self._tuned["lr"] != before["lr"]:
            self._scale(self._scheduler, self._tuned["lr"] / before["lr"])
        if self._factor is not None:  # of another number of steps, perhaps
            factor = self._factor(self._scheduler.last_epoch)
            self._set([float(base) * factor for base in self._scheduler.base_lrs])

    def _scale(self, scheduler: LRScheduler, ratio: float) -> None:
        for group in self.optimizer.param_groups:
            if "initial_lr" in group:
                group["initial_lr"] *= ratio
        scheduler.base_lrs = [base * ratio for base in scheduler.base_lrs]
        self._set([group["lr"] * ratio for group in self.optimizer.param_groups])

    def _set(self, lrs: list[float]) -> None:
        for group, lr in zip(self.optimizer.param_groups, lrs, strict=True):
            group["lr"] = lr


def _course(decay: str, warmup: int, steps: int) -> Callable[[int], float]:
    """The factor of the step size at each step."""

    # A function, which unlike an object the state of a LambdaLR leaves out.
    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        done = min(1.0, (step - warmup) / max(1, steps - warmup))
        if decay == "cosine":
            return (1 + math.cos(math.pi * done)) / 2
        return 1 - done if decay == "linear" else 1.0

    return factor


def _optimizer(config: TrainConfig, groups: list[dict[str, Any]]) -> Optimizer:
    size = config.step_size
    lr = _START if size == "search" else size
    if lr is not None and config.optimizer in OPTIMIZERS:
        settings = {"momentum": config.momentum, "weight_decay": config.weight_decay}
        return OPTIMIZERS[config.optimizer].make(groups, lr, settings)
    options = {} if lr is None else {"lr": lr}
    if lr is None and not _has_own_lr(named("optimizer", config.optimizer), groups):
        options = {"lr": _LR}
    called = "(parameters, lr=lr)"
    made = _made(Optimizer, "optimizer", config.optimizer, called, groups, **options)
    _check_optimizer(config, made)
    return made


def _has_own_lr(function: Callable[..., Any], groups: list[dict[str, Any]]) -> bool:
    """Whether it can be called with parameters alone, so that the step size is its own."""
    try:
        inspect.signature(function).bind(groups)
    except Exception:  # it asks for more, or is a callable of the user's that cannot say
        return False
    return True


def _check_optimizer(config: TrainConfig, optimizer: Optimizer) -> None:
    name = config.optimizer
    if not all("lr" in group for group in optimizer.param_groups):
        raise ValueError(f"optimizer={name} must have an lr for all its parameters")
    try:
        inspect.signature(optimizer.step).bind()
    except TypeError as error:
        raise ValueError(
            f"optimizer={name} must take a step without arguments, such as a closure: {error}"
        ) from None
    together = _together(optimizer)
    if together and config.processes > config.replicas:
        raise ValueError(
            f"optimizer={name} {together}, but each process has only those of its stages, so the "
            f"result would depend on where the model is cut: take another, or --stages 1"
        )


def _together(optimizer: Optimizer) -> str:
    """What an optimizer computes from all parameters together, by its name and options."""
    kind = type(optimizer).__name__
    if re.match("prodigy|dadapt", kind, re.IGNORECASE):
        return "finds its step size from all parameters together"
    if re.search("sam$", kind, re.IGNORECASE) and "rho" in optimizer.defaults:
        return "climbs along the gradient by all parameters together"
    for option in ("max_grad_norm", "clip_grad_norm", "max_norm"):
        if any(group.get(option) for group in optimizer.param_groups):
            return f"limits the norm of all gradients together ({option}; --clip is the way here)"
    return ""


def _scheduler(decay: str, optimizer: Optimizer) -> LRScheduler:
    scheduler = _made(LRScheduler, "decay", decay, "the optimizer", optimizer)
    if isinstance(scheduler, ReduceLROnPlateau):
        raise ValueError(f"decay={decay} must depend on steps only, got a ReduceLROnPlateau")
    return scheduler


def _made(kind: type[T], what: str, name: str, called: str, *args: Any, **options: Any) -> T:
    function = named(what, name)
    check_signature(f"{what}={name}", function, args, options, called=called)
    with user_code(f"{what}={name} failed"):
        made = function(*args, **options)
    if not isinstance(made, kind):
        raise ValueError(
            f"{what}={name} must return a torch {kind.__name__}, got a {type(made).__name__}"
        )
    return made
