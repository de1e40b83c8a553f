"""What is refused before or after a smoothed pass, with the value at hand and what to do."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pprs.smoothing._graph import leaves
from pprs.smoothing._modules import modules_of, parameters_of

Unused: TypeAlias = Literal["error", "allow"]

# These change their statistics, or normalise by them, on every pass in training mode: the K
# perturbed passes would see each other, and the average would not be that of the algorithm.
_RUNNING_STATISTICS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_RUNNING_STATISTICS_IF_TRACKED = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


def check_model(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters to perturb, by full name, after every check that needs no forward pass."""
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model must be the torch.nn.Module whose parameters are perturbed, got "
            f"{type(model).__name__}"
        )
    modules = check_normalisation(model)
    parameters = trainable(model, modules)
    check_apart(parameters.items())
    return parameters


def trainable(model: nn.Module, modules: list[tuple[str, nn.Module]]) -> dict[str, nn.Parameter]:
    """The parameters that are perturbed, by full name; frozen ones are left out.

    Args:
        model: whose they are.
        modules: that it has, by name.

    Raises:
        ValueError: if there is none, or one is not real floating point.
    """
    parameters = parameters_of(model, modules)
    check_shaped(parameters)
    chosen = {name: p for name, p in parameters.items() if p.requires_grad}
    if not chosen:
        raise ValueError(
            f"{type(model).__name__} has {len(parameters)} parameters and none is trainable: "
            f"set requires_grad=True on those to smooth over"
        )
    for name, parameter in chosen.items():
        if not parameter.is_floating_point():
            raise ValueError(
                f"parameter {name!r} has dtype {parameter.dtype}: Gaussian smoothing needs a real "
                f"floating-point type; freeze it with requires_grad=False"
            )
    return chosen


def check_shaped(parameters: Mapping[str, Tensor]) -> None:
    """Raise `ValueError` for a parameter of a lazy module that has not run yet."""
    for name, parameter in parameters.items():
        if is_lazy(parameter):
            raise ValueError(
                f"parameter {name!r} has no shape yet, since its lazy module has not run: run the "
                f"model on one batch first, under torch.no_grad()"
            )


def check_apart(parameters: Iterable[tuple[str, Tensor]]) -> None:
    """Raise `ValueError` if two parameters lie in the same memory, as `a.data = b.data` leaves.

    Each would be perturbed on its own, though they are one; and moved on by its own momentum.
    """
    found: dict[int, tuple[str, Tensor]] = {}
    for name, parameter in parameters:
        other, same = found.setdefault(start(parameter), (name, parameter))
        if same is not parameter and start(parameter):
            raise ValueError(
                f"parameters {other!r} and {name!r} are two, but share their memory: make them one "
                f"by assigning the parameter itself, head.weight = embedding.weight, not its .data "
                f"or a view of it"
            )


def start(parameter: Tensor) -> int:
    """Where it begins in memory; 0 if it is nowhere."""
    try:
        return parameter.data_ptr()
    except (RuntimeError, ValueError):  # of a lazy module, of a tensor without values
        return 0


def check_normalisation(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules by name; `RuntimeError` if one mixes the passes, or cannot be perturbed."""
    modules = modules_of(model)
    for name, module in modules:
        kind = type(module)
        if not _may_mix(kind):
            continue
        if isinstance(module, torch.jit.ScriptModule):
            raise RuntimeError(
                f"module {name!r} is compiled by torch.jit: its parameters cannot be perturbed "
                f"there. Use the plain Python module"
            )
        mixes = isinstance(module, _RUNNING_STATISTICS) or (
            isinstance(module, _RUNNING_STATISTICS_IF_TRACKED) and module.track_running_stats
        )
        if mixes and module.training:
            raise RuntimeError(
                f"{kind.__name__} {name!r} is in training mode: its running statistics would mix "
                f"the perturbed passes. Call .eval() on it, or replace it by nn.GroupNorm or "
                f"nn.LayerNorm, which see one example at a time"
            )
    return modules


def _mixing(kind: type) -> bool:
    of = (torch.jit.ScriptModule, *_RUNNING_STATISTICS, *_RUNNING_STATISTICS_IF_TRACKED)
    return issubclass(kind, of)


_may_mix: Callable[[type], bool] = functools.lru_cache(4096)(_mixing)


def check_closure(closure: object, batch: Sequence[Tensor] | None) -> None:
    """Raise `TypeError` or `ValueError` if a closure cannot be called with a batch."""
    if not callable(closure):
        raise TypeError(
            f"closure must be a function that computes the loss, since it runs at perturbed "
            f"parameters; got {type(closure).__name__}: write `lambda: loss_function(model(x), y)`"
        )
    if isinstance(batch, Tensor):
        return  # check_batch knows better
    row = () if batch is None else tuple(batch)
    try:
        signature = inspect.signature(closure)
    except (TypeError, ValueError):  # of some functions written in C
        return
    try:
        signature.bind(*row)
    except TypeError as error:
        given = f"{len(row)} tensor(s), the batch" if row else "no arguments, without a batch"
        raise ValueError(
            f"the closure is called with {given}, but its arguments are {signature}: {error}. Pass "
            f"batch=(x, y) to a closure that takes x and y, and no batch to one that takes nothing"
        ) from error


class Refusal(RuntimeError):
    """What is wrong with a closure however it is run, all perturbations together or one by one."""


def check_met(
    unmet: Sequence[str], count: int, unused: Unused, losses: Tensor | None = None
) -> None:
    """Raise `Refusal` if a pass did not use the parameters that it should perturb.

    Args:
        unmet: names of those that it did not use.
        count: of those that it should.
        unused: whether some may be left over.
        losses: that came out.
    """
    if count and len(unmet) == count:
        others = 0 if losses is None else len(leaves([losses]))
        also = f"; its loss depends on {others} tensors that are not the model's" if others else ""
        raise Refusal(
            f"the closure used none of the {count} parameters of the model ({_some(unmet)}){also}: "
            f"does it run another model, or a copy? It must reach them through the model given"
        )
    if unmet and unused == "error":
        raise Refusal(
            f"the closure did not use {len(unmet)} of {count} trainable parameters: "
            f"{_some(unmet)}. If it runs another model or a copy, let it run the model given; if "
            f'they are really not needed, pass unused="allow" or freeze them'
        )


def check_unused(unused: object) -> None:
    """Raise `ValueError` unless it is one of the two words."""
    if unused not in {"error", "allow"}:
        raise ValueError(f'unused must be "error" or "allow", got {unused!r}')


def warn_of_zeros(
    model: nn.Module, parameters: Mapping[str, Tensor], sigmas: Mapping[str, float], scale: object
) -> None:
    """Warn, once for each model, of layers that a scale relative to filters leaves as they are.

    Args:
        model: the model.
        parameters: that are perturbed.
        sigmas: how much.
        scale: of the perturbation.
    """
    if scale != "filter" or model in _warned:
        return
    _warned.add(model)
    layers: defaultdict[str, list[str]] = defaultdict(list)
    for name, parameter in parameters.items():
        if sigmas[name] > 0 and parameter.numel():
            layers[name.rpartition(".")[0]].append(name)
    # A bias of 0 beside other weights is common, and the layer is perturbed by these.
    zeros = [n for own in layers.values() for n in own if not any(parameters[m].any() for m in own)]
    if zeros:
        warnings.warn(
            f'{len(zeros)} of {len(parameters)} parameters are all zero, and scale="filter", the '
            f"default of smooth, gives them no noise as long as they are: {_some(zeros)}. Give "
            f"sigma without scale, in the parameters' own units, to perturb them too",
            stacklevel=3,
        )


_warned: WeakSet[nn.Module] = WeakSet()


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:3]))
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def check_batch(batch: Sequence[Tensor] | None, noise: str) -> Sequence[Tensor]:
    """The tensors of a batch, or `ValueError` if they cannot be taken example by example."""
    if batch is None:
        if noise == "example":
            raise ValueError(
                'noise="example" runs the closure on one example at a time: pass the batch, '
                "smooth(lambda x, y: loss(model(x), y), ..., batch=(x, y))"
            )
        return ()
    if isinstance(batch, Tensor):
        raise ValueError("batch must be a sequence of tensors, got one: write batch=(x,)")
    kinds = [type(item).__name__ for item in batch]
    if not isinstance(batch, Sequence) or not all(isinstance(item, Tensor) for item in batch):
        raise ValueError(
            f"batch must be a sequence of tensors, got {type(batch).__name__} of {kinds}: write "
            f'batch=(b["x"], b["y"]), and keep all else in the closure'
        )
    if noise == "example":
        sizes = [tuple(tensor.shape[:1]) for tensor in batch]
        if not sizes or len(set(sizes)) > 1 or sizes[0] in {(), (0,)}:
            raise ValueError(
                f"the tensors of the batch must have the same first dimension, the examples: got "
                f"shapes {[tuple(tensor.shape) for tensor in batch]}"
            )
    return batch


def check_scalar(loss: object) -> Tensor:
    """The loss of one perturbation, or `ValueError` if it is not a tensor without dimensions."""
    if not isinstance(loss, Tensor):
        shown = f" {loss!r}" if isinstance(loss, int | float) else ""
        raise ValueError(
            f"the closure must return the loss as a scalar tensor, got "
            f"{type(loss).__name__}{shown}: does it end in `return loss`?"
        )
    if loss.dim() != 0:
        raise ValueError(
            f"the closure must return a scalar loss, got a tensor of shape {tuple(loss.shape)}: "
            f"reduce it, for example with .mean()"
        )
    if not loss.is_floating_point():
        raise ValueError(f"the loss must be of a real floating-point type, got {loss.dtype}")
    return loss


class NotFiniteError(RuntimeError):
    """A loss or a gradient is infinite or not a number; the message says where."""


class _Sized(Protocol):
    @property
    def size(self) -> str: ...


def check_finite(losses: Tensor, perturbation: _Sized) -> None:
    """Raise `NotFiniteError` if the loss of a perturbation is infinite or not a number."""
    finite = losses.detach().isfinite()
    if finite.all():
        return
    bad = losses.detach()[~finite]
    raise NotFiniteError(
        f"the loss is not finite at {len(bad)} of {losses.numel()} perturbed parameters (first: "
        f"{bad[0].item()}, {perturbation.size}): lower the step size or sigma, or look for a "
        f"division, logarithm or overflow in the loss"
    )
