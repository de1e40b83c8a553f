"""The layers of an `nn.Sequential` as pieces, each called as the container would call it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, fx, nn

from pprs.pipeline.partitioner.example import left_alone
from pprs.pipeline.partitioner.layer_outputs import side_by_side

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def is_sequence(model: nn.Module) -> bool:
    """Whether a model calls its layers one after the other, and needs no example to be cut."""
    return type(model).forward is nn.Sequential.forward and "forward" not in vars(model)


def opens(model: nn.Module) -> bool:
    """Whether running its layers one after the other is all that calling a model does."""
    kind = type(model)
    return (
        is_sequence(model)
        and kind.__call__ is nn.Module.__call__
        and kind.__iter__ is nn.Sequential.__iter__  # type: ignore[attr-defined]
        and not hooks(model)
    )


def hooks(module: nn.Module) -> list[str]:
    """The kinds of hooks that are registered on a module."""
    return [kind.strip("_").replace("_", " ") for kind in _HOOKS if getattr(module, kind)]


def layer_pieces(model: nn.Module, example: Sequence[Tensor] = ()) -> list[fx.GraphModule]:
    """The layers of a sequence, those of nested ones too, each in a piece.

    A layer that stands in several places is in as many pieces. Parameters keep the first of their
    names in the model. A nested container with hooks of its own stays whole.

    Args:
        model: the sequence.
        example: what it takes, if that is known: what cannot pass between stages then lies within
            a piece.
    """
    layers = list(_flat(model, ""))
    whole = _whole(model, layers, example) if example else [True] * len(layers)
    modules = {id(module): name for name, module in model.named_modules()}
    canonical = {id(p): name for name, p in model.named_parameters()}
    groups: list[list[tuple[str, nn.Module]]] = []
    ends = True
    for (name, layer), passes in zip(layers, whole, strict=True):
        if ends:
            groups.append([])
        groups[-1].append((name, layer))
        ends = passes and not isinstance(layer, nn.RNNBase)  # gives its state, too
    return [_piece(group, modules, canonical) for group in groups]


def _flat(model: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    for name, layer in model._modules.items():  # what stands there twice is called twice
        if layer is None:
            raise ValueError(f"layer {prefix}{name!r} of the nn.Sequential is None")
        if opens(layer):
            yield from _flat(layer, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", layer


def _whole(
    model: nn.Module, layers: Sequence[tuple[str, nn.Module]], example: Sequence[Tensor]
) -> list[bool]:
    """Whether the output of each layer is tensors side by side."""
    passes: list[bool] = []
    value: Any = tuple(x.clone() for x in example) if len(example) > 1 else example[0].clone()
    with left_alone(model):
        for name, layer in layers:
            try:
                value = layer(value)
            except Exception as error:
                raise ValueError(f"layer {name!r} failed on the example: {error}") from error
            passes.append(side_by_side(value) is not None)
    return passes


def _piece(
    group: list[tuple[str, nn.Module]], modules: dict[int, str], canonical: dict[int, str]
) -> fx.GraphModule:
    """A module that calls layers, and holds them under their names in the model."""
    graph = fx.Graph()
    value = graph.placeholder("input")
    for _, layer in group:
        value = graph.call_module(modules[id(layer)], (value,))
    graph.output(value)
    piece = fx.GraphModule({modules[id(layer)]: layer for _, layer in group}, graph, "Piece")
    piece.training = group[0][1].training
    named = piece.named_parameters(remove_duplicate=False)
    piece.meta["names"] = {name: canonical[id(p)] for name, p in named}
    piece.meta["layer"] = group[0][0]
    piece.meta["takes"] = "one"  # whatever the layer before gives, as nn.Sequential hands it on
    return piece
