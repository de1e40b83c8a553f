"""Checks of the arguments of a pipeline, before anything starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pprs.pipeline.partitioner import Balance, Memory
from pprs.smoothing import Perturbation, check_apart, check_normalisation, check_shaped


def check(arguments: Mapping[str, Any]) -> None:
    """Check all that can be checked of each argument of a pipeline by itself.

    Args:
        arguments: by name; names without a check are passed over.

    Raises:
        ValueError: for one of a wrong kind.
        RuntimeError: without a process group, or for BatchNorm in training mode.
    """
    if not dist.is_initialized():
        raise RuntimeError(
            "a Pipeline needs torch.distributed's process group: call "
            "torch.distributed.init_process_group() first, under torchrun"
        )
    for name, value in arguments.items():
        if name in _KINDS and not _KINDS[name][0](value):
            raise ValueError(f"{name} must be {_KINDS[name][1]}, got {value!r}")
    check_normalisation(arguments["network"])


def trainable(parameters: Mapping[str, nn.Parameter]) -> list[str]:
    """The names of the trainable parameters.

    Raises:
        ValueError: if there are none, two share their memory, or one has no shape yet.
    """
    check_shaped(parameters)
    names = [name for name, p in parameters.items() if p.requires_grad]
    check_apart((name, parameters[name]) for name in names)
    if not names:
        raise ValueError(
            "network must have a parameter that can be trained: what its output depends on has none"
        )
    return names


def checked_device(device: torch.device | str) -> torch.device:
    """The device.

    Raises:
        ValueError: if there is none of that name.
    """
    if isinstance(device, str | torch.device):
        try:
            return torch.device(device)
        except RuntimeError:
            pass
    raise ValueError(f"device must be one like 'cpu' or 'cuda:0', got {device!r}")


def check_batch(inputs: Sequence[Any], y: Any, *, last: bool) -> None:
    """Raise `ValueError` unless inputs and targets are tensors with one row for each example.

    Args:
        inputs: of the network.
        y: the targets.
        last: whether this process holds the last stage, which reads the targets.
    """
    named = _named(inputs)
    _check_rows(named | {"y": y} if last else named)


def check_inputs(inputs: Sequence[Any]) -> None:
    """Raise `ValueError` unless inputs are tensors with one row for each example."""
    _check_rows(_named(inputs))


def _named(inputs: Sequence[Any]) -> dict[str, Any]:
    return {f"x[{i}]" if len(inputs) > 1 else "x": x for i, x in enumerate(inputs)}


def _check_rows(named: Mapping[str, Any]) -> None:
    if not named.keys() - {"y"}:
        raise ValueError("x must be a tensor or a tuple of tensors, got none")
    for name, value in named.items():
        if not isinstance(value, Tensor):
            a_tuple = " or a tuple of tensors" if name == "x" else ""
            raise ValueError(
                f"{name} must be a tensor{a_tuple}, got {type(value).__name__} {value!r}"
            )
        if value.dim() == 0 or len(value) == 0:
            raise ValueError(
                f"{name} must have a row for each example, at least one, got shape "
                f"{tuple(value.shape)}"
            )
    rows = {name: len(value) for name, value in named.items()}
    if len(set(rows.values())) > 1:
        counted = ", ".join(f"{name} has {count}" for name, count in rows.items())
        raise ValueError(f"x and y must have a row for each example, the same number: {counted}")


def fingerprint(network: nn.Module) -> list[str]:
    """A number for each parameter that another seed changes, but the order of a sum does not."""
    return [
        "not there" if p.is_meta else f"{p.detach().abs().sum(dtype=torch.float64).item():.6g}"
        for p in network.parameters()
    ]


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _cut(value: Any) -> bool:
    if value is None:
        return True
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    return listed and all(isinstance(v, str | int) and not isinstance(v, bool) for v in value)


def _example(value: Any) -> bool:
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    return listed and all(isinstance(v, Tensor | Mapping) for v in value)


_FLAG = _flag, "True or False"
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "network": (lambda v: isinstance(v, nn.Module), "a module"),
    "loss": (callable, "a function of outputs and targets"),
    "perturbation": (lambda v: v is None or isinstance(v, Perturbation), "a pprs.Perturbation"),
    "microbatches": (
        lambda v: v is None or (isinstance(v, str) and v == "auto") or _count(v),
        "an integer of at least 1 or 'auto'",
    ),
    "replicas": (_count, "an integer of at least 1"),
    "seed": (lambda v: v is None or isinstance(v, int), "an integer"),
    "example": (_example, "a sequence of tensors, the last maybe a mapping"),
    "balance": (lambda v: v in get_args(Balance), f"one of {get_args(Balance)}"),
    "cut": (_cut, "a sequence of layers, by name or number"),
    "memory": (lambda v: v is None or isinstance(v, Memory), "a pprs.pipeline.Memory"),
    "recompute": _FLAG,
    "capture": _FLAG,
    "finite": _FLAG,
    "check": _FLAG,
    "record": (lambda v: _count(v) or (v == 0 and not _flag(v)), "an integer of at least 0"),
}
