"""From any model to a chain of layers that can be cut."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, cast

from torch import Tensor, fx, nn

from pprs._arguments import counts
from pprs.pipeline.cutting.export import trace
from pprs.pipeline.cutting.flow import Flow
from pprs.pipeline.cutting.origin import Origin
from pprs.pipeline.cutting.splitting import cuts, pieces


class Chain(nn.Sequential):
    """Consecutive pieces of a model; each takes the tensors that the one before it gives.

    A slice of it is a chain too: the stage of a pipeline.

    Attributes:
        origin: the model it was cut from; ``None`` for what :func:`chain` has not made.
    """

    origin: Origin | None = None

    def forward(self, *inputs: Tensor) -> Any:
        """Run all pieces.

        Args:
            inputs: the tensors that the first piece takes: of the whole chain, those of the
                example, in its order.

        Returns:
            A tensor or a tuple of tensors.
        """
        output: Any = inputs
        for piece in self:
            output = piece(*output) if isinstance(output, tuple) else piece(output)
        return output

    @property
    def layers(self) -> list[str]:
        """The name of the module of the model with which each piece begins."""
        return [str(cast(fx.GraphModule, piece).meta["layer"]) for piece in self]


def chain(model: nn.Module, *example: Tensor | Mapping[str, Any], largest: int = 16) -> Chain:
    """Cut a model into consecutive pieces that share its parameters.

    An ``nn.Sequential`` gives its layers, those of nested ones too, and needs no example. Every
    other model is traced by ``torch.export.export`` and cut wherever a single result is alive
    between two functions that receive parameters: between the halves of a transformer's layers,
    between the blocks of a residual network. What depends on inputs only (masks, positions) each
    piece computes anew; the inputs that it needs travel along, after that result.

    The pieces give what the model gives. Every piece calls its parameters and buffers as the
    model does, so ``piece.state_dict()`` is part of the model's. The sizes of the example hold
    for good, except that of the batch, the first dimension of the first input and of all others
    of that size; ``x.shape[0]`` in a forward leaves it free, ``len(x)`` does not. Dropout follows
    ``train()`` and ``eval()`` of the pieces; any other difference between the modes is the one in
    which the model was traced. Parameters that the output does not depend on are in no piece.

    Args:
        model: to be cut; a model's output object counts as its ``.logits``.
        example: tensors, the arguments of its forward; the last may be a mapping of keyword
            arguments. The pieces take those that are tensors, in this order.
        largest: a piece with more functions that receive parameters than this, at least 1, is cut
            where two results are alive, or more.

    Returns:
        The pieces, an ``nn.Sequential``.

    Raises:
        ValueError: if torch cannot trace the model, with what torch said.
        RuntimeError: for BatchNorm in training mode in a traced model.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2)))
        >>> chain(model).layers
        ['0', '1.0', '1.1']
    """
    counts(largest=largest)
    if _plain(model):
        whole = Chain(*(_wrapped(name, layer) for name, layer in _flat(model, "")))
        whole.origin = Origin(model)
        return whole
    tensors, options = _split(example)
    flow = Flow(trace(model, tensors, options))
    whole = Chain(*pieces(flow, cuts(flow, largest), model.training))
    whole.origin = Origin(model, tensors, options)
    return whole


def full_names(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of a piece, or of a chain or part of one, by their names in the model."""
    parts = module if isinstance(module, Chain) else [module]
    return {name: p for part in parts for name, p in part.named_parameters()}


def ties(whole: Chain) -> list[set[int]]:
    """The pieces that share parameters and must stay together, by their indices in the chain.

    Returns:
        Disjoint sets of at least two indices.
    """
    users: defaultdict[nn.Parameter, set[int]] = defaultdict(set)
    for index, piece in enumerate(whole):
        for parameter in piece.parameters():
            users[parameter].add(index)
    groups: list[set[int]] = []
    for group in users.values():
        apart = [other for other in groups if other.isdisjoint(group)]
        joined = [other for other in groups if not other.isdisjoint(group)]
        groups = [*apart, group.union(*joined)]
    return sorted((group for group in groups if len(group) > 1), key=min)


def _plain(model: nn.Module) -> bool:
    return type(model).forward is nn.Sequential.forward


def _flat(model: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    for name, layer in model.named_children():
        if _plain(layer):
            yield from _flat(layer, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", layer


def _wrapped(name: str, layer: nn.Module) -> fx.GraphModule:
    """A module that calls a layer, and holds it under its name in the model."""
    graph = fx.Graph()
    graph.output(graph.call_module(name, (graph.placeholder("input"),)))
    piece = fx.GraphModule({name: layer}, graph, "Piece")
    piece.training = layer.training
    piece.meta["layer"] = name
    return piece


def _split(example: tuple[Any, ...]) -> tuple[list[Tensor], Mapping[str, Any]]:
    *first, last = example or (None,)
    options = last if isinstance(last, Mapping) else {}
    tensors = first if isinstance(last, Mapping) else [*first, last]
    given = [*tensors, *(v for v in options.values() if isinstance(v, Tensor))]
    if not given or not all(isinstance(tensor, Tensor) for tensor in [*tensors, given[0]]):
        kinds = ", ".join(type(value).__name__ for value in example) or "nothing"
        raise ValueError(
            "example must be the tensors that the model takes, the last of them possibly a "
            f"mapping of keyword arguments: got {kinds}"
        )
    return tensors, options
