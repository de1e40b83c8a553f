"""The state of an optimizer under the names of its parameters, so that it can be cut anew."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from pprs.optim import SearchedStep
from pprs.pipeline.checkpoint.collectives import check_plain

_DTYPES = {"bool": torch.bool, "int": torch.int64, "float": torch.float64}
# Says for each parameter in which group it was, and that its state was saved, be it empty.
_GROUP = "param_group"
_NAMES = ("params", "param_names")
# What a searched step that is pending adds to a parameter.
_MOVE = "searched_move"


def optimizer_state(
    optimizer: Optimizer | SearchedStep,
    names: Mapping[str, nn.Parameter],
    prefix: str = "optimizer.",
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state by name, as `pprs.pipeline.Checkpoints.save` takes it.

    Args:
        optimizer: any whose state is tensors and numbers by parameter, as most of torch's, or a
            searched step of one. On several ranks it must have the same param groups on all, of
            which some may be empty.
        names: all its parameters, by their names in the whole network.
        prefix: of the tensors' names.

    Returns:
        The tensors, not copied: `prefix + parameter + "." + key`, where a Python number is a
        tensor without dimensions and its type follows the key (`"count:int"`). And the numbers:
        the hyperparameters of each group, which are the same on all ranks.

    Raises:
        ValueError: for a parameter without a name, or state or hyperparameters that are neither
            tensors nor JSON.

    Example:
        >>> weight = nn.Parameter(torch.ones(2))
        >>> weight.grad = torch.ones(2)
        >>> optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
        >>> optimizer.step()
        >>> tensors, numbers = optimizer_state(optimizer, {"weight": weight})
        >>> sorted(tensors)
        ['optimizer.weight.momentum_buffer', 'optimizer.weight.param_group']
    """
    tensors: dict[str, Tensor] = {}
    about: dict[str, Any] = {"type": kind_of(optimizer)}
    if isinstance(optimizer, SearchedStep):
        moves, optimizer = optimizer.moves, optimizer.optimizer
        about["moves"] = moves is not None  # also where a rank has no parameters
        tensors |= {f"{prefix}{name}.{_MOVE}": move for name, move in (moves or {}).items()}
    for i, parameter, name in _named(optimizer, names):
        tensors[f"{prefix}{name}.{_GROUP}"] = torch.tensor(i, device="cpu")
        for key, value in optimizer.state.get(parameter, {}).items():
            kind = type(value).__name__
            if isinstance(value, Tensor):
                tensors[f"{prefix}{name}.{key}"] = value
            elif kind in _DTYPES:
                tensors[f"{prefix}{name}.{key}:{kind}"] = torch.tensor(
                    value, dtype=_DTYPES[kind], device="cpu"
                )
            else:
                raise ValueError(
                    f"optimizer must keep tensors and numbers for each parameter, but "
                    f"{type(optimizer).__name__} keeps {key!r} of type {kind} for {name!r}"
                )
    groups = [
        {key: _plain(value) for key, value in group.items() if key not in _NAMES}
        for group in optimizer.param_groups
    ]
    check_plain("param_groups", groups)
    return tensors, about | {"groups": groups}


def kind_of(optimizer: Optimizer | SearchedStep) -> str:
    """What an optimizer's state is loaded into: the name of its class."""
    if isinstance(optimizer, SearchedStep):
        return f"SearchedStep of {kind_of(optimizer.optimizer)}"
    return type(optimizer).__name__


def belongs_to(names: Collection[str], prefix: str = "optimizer.") -> Callable[[str], bool]:
    """Which tensors are optimizer state of some parameters: for `Checkpoints.read`.

    Example:
        >>> mine = belongs_to({"0.weight"})
        >>> mine("optimizer.0.weight.exp_avg"), mine("optimizer.1.weight.exp_avg")
        (True, False)
    """
    return lambda name: (
        name.startswith(prefix) and name.removeprefix(prefix).rpartition(".")[0] in names
    )


def load_optimizer_state(
    optimizer: Optimizer | SearchedStep,
    names: Mapping[str, nn.Parameter],
    tensors: Mapping[str, Tensor],
    numbers: Mapping[str, Any],
    prefix: str = "optimizer.",
) -> None:
    """Give an optimizer what `optimizer_state` took from one, on these ranks or others.

    Args:
        optimizer: of the same type, with the same param groups; what it was before is lost.
        names: all its parameters, by their names in the whole network.
        tensors: with the state of these parameters; others are left alone.
        numbers: the second result of `optimizer_state`.
        prefix: of the tensors' names.

    Raises:
        ValueError: for another type of optimizer, other groups, or a parameter without state; the
            optimizer is then as it was.

    Example:
        >>> weight = nn.Parameter(torch.ones(2))
        >>> weight.grad = torch.ones(2)
        >>> first, second = torch.optim.Adam([weight]), torch.optim.Adam([weight])
        >>> first.step()
        >>> load_optimizer_state(
        ...     second, {"weight": weight}, *optimizer_state(first, {"weight": weight})
        ... )
        >>> second.state[weight]["exp_avg"]
        tensor([0.1000, 0.1000])
    """
    kind, searched = kind_of(optimizer), None
    if isinstance(optimizer, SearchedStep):
        searched, optimizer = optimizer, optimizer.optimizer
    _check(optimizer, kind, names, tensors, numbers, prefix)
    for group, saved in zip(optimizer.param_groups, numbers["groups"], strict=True):
        for key, value in saved.items():
            group[key] = _like(group.get(key), value)
    places, moves = {}, {}
    for i, parameter, name in _named(optimizer, names):
        optimizer.state.pop(parameter, None)
        places[name] = parameter, optimizer.param_groups[i]
    belongs = belongs_to(places, prefix)
    for full, value in tensors.items():
        name, _, label = full.removeprefix(prefix).rpartition(".")
        if belongs(full) and label != _GROUP:
            parameter, group = places[name]
            key, _, number = label.partition(":")
            if key == _MOVE:
                moves[name] = _placed(key, value, parameter, group)
                continue
            optimizer.state[parameter][key] = (
                value.item() if number else _placed(key, value, parameter, group)
            )
    if searched is not None:
        searched.moves = moves if numbers["moves"] else None


def _named(
    optimizer: Optimizer, names: Mapping[str, nn.Parameter]
) -> list[tuple[int, nn.Parameter, str]]:
    """Each parameter with the index of its group and its name."""
    of = {id(parameter): name for name, parameter in names.items()}
    found = []
    for i, group in enumerate(optimizer.param_groups):
        for parameter in group["params"]:
            if id(parameter) not in of:
                raise ValueError(
                    f"names must name all parameters of the optimizer, but lacks one of shape "
                    f"{list(parameter.shape)} in its group {i}"
                )
            found.append((i, parameter, of[id(parameter)]))
    return found


def _check(
    optimizer: Optimizer,
    kind: str,
    names: Mapping[str, nn.Parameter],
    tensors: Mapping[str, Tensor],
    numbers: Mapping[str, Any],
    prefix: str,
) -> None:
    groups = optimizer.param_groups
    if (numbers["type"], len(numbers["groups"])) != (kind, len(groups)):
        raise ValueError(
            f"optimizer is {kind} with {len(groups)} param groups, but the state is that of "
            f"{numbers['type']} with {len(numbers['groups'])}"
        )
    for i, _, name in _named(optimizer, names):
        saved = tensors.get(f"{prefix}{name}.{_GROUP}")
        if saved is None:
            raise ValueError(f"tensors must hold the state of {name!r}, but hold none of it")
        if int(saved) != i:
            raise ValueError(f"{name!r} is in group {i} of the optimizer, but was in {int(saved)}")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value


def _like(current: Any, saved: Any) -> Any:
    """A hyperparameter as JSON gives it back, in the type that the optimizer uses."""
    if isinstance(current, Tensor):
        return torch.full_like(current, saved)
    return tuple(saved) if isinstance(current, tuple) else saved


def _placed(key: str, value: Tensor, parameter: Tensor, group: Mapping[str, Any]) -> Tensor:
    # As torch's load_state_dict has it: Adam and its kin keep their count on the CPU.
    if key == "step" and not (group.get("capturable") or group.get("fused")):
        return value.clone()
    if value.shape != parameter.shape:
        return value.to(parameter.device, copy=True)
    # With the strides of the parameter, since another order of memory may round differently.
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
