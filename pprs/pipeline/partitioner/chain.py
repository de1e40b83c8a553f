"""Any model as a chain of pieces that can be cut."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any, cast

from torch import Tensor, fx, nn

from pprs._arguments import counts
from pprs.pipeline.partitioner.example import Example
from pprs.pipeline.partitioner.export import Traced, trace
from pprs.pipeline.partitioner.graph_pieces import cuts, pieces
from pprs.pipeline.partitioner.layer_outputs import called
from pprs.pipeline.partitioner.layers import hooks, is_sequence, layer_pieces, opens
from pprs.pipeline.partitioner.live_tensors import LiveTensors
from pprs.pipeline.partitioner.modes import same_in_other_mode, take_both
from pprs.pipeline.partitioner.origin import Origin
from pprs.pipeline.partitioner.untraceable import check_wrapped


class Chain(nn.Sequential):
    """Consecutive pieces of a model; each takes the tensors that the one before it gives.

    A slice of it is a chain too: the stage of a pipeline.

    Attributes:
        fixed: whether it computes what the model does in the mode only in which it was traced.
        largest: of a traced model, how finely it was cut, as for `chain`.
        origin: the model it was cut from; `None` for what `chain` has not made.
        before: while it is set, called with the number of each piece before that runs.

    Example:
        >>> from pprs.pipeline import chain
        >>> pieces = chain(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
        >>> pieces.layers
        ['0', '1', '2']
    """

    fixed = False
    largest = 1
    origin: Origin | None = None
    before: Callable[[int], None] | None = None

    def forward(self, *inputs: Tensor) -> Any:
        """Run all pieces.

        Args:
            inputs: the tensors that the first piece takes: of the whole chain, those of the
                example, in its order.

        Returns:
            What the last piece gives: of the whole chain, what the model gives.
        """
        output: Any = inputs if len(inputs) != 1 else inputs[0]
        for number, piece in enumerate(self):
            if self.before is not None:
                self.before(number)
            try:
                output = called(piece, output)
            except Exception as error:
                if isinstance(piece, fx.GraphModule):
                    error.add_note(f"in the piece that begins with layer {piece.meta['layer']!r}")
                raise
        return output

    @property
    def layers(self) -> list[str]:
        """The name of the module of the model with which each piece begins."""
        return [str(cast(fx.GraphModule, piece).meta["layer"]) for piece in self]


def chain(
    model: nn.Module,
    *example: Tensor | Mapping[str, Any],
    largest: int = 16,
    stages: int = 1,
) -> Chain:
    """Cut a model into consecutive pieces that share its parameters.

    An `nn.Sequential` gives its layers, those of nested ones too, and needs no example; with one,
    layers stay together between which other things than tensors side by side pass. Every other
    model is traced by `torch.export.export` and cut wherever a single result is alive
    between two functions that receive parameters: between the halves of a transformer's layers,
    between the blocks of a residual network. What depends on inputs only (masks, positions) each
    piece computes anew; the inputs that it needs travel along, after that result.

    The pieces give what the model gives. Every piece calls its parameters and buffers as the
    model does, so `piece.state_dict()` is part of the model's. The sizes of the example hold
    for good, except that of the batch, the first dimension of the first input and of all others
    of that size; `x.shape[0]` in a forward leaves it free, `len(x)` does not. Dropout follows
    `train()` and `eval()` of the pieces; any other difference between the modes is the one in
    which the model was traced. Parameters that the output does not depend on are in no piece.

    Args:
        model: to be cut, unless it is a chain already; a model's output object counts as its
            `.logits`.
        example: tensors, the arguments of its forward; the last may be a mapping of keyword
            arguments. The pieces take those that are tensors, in this order.
        largest: a piece with more functions that receive parameters than this, at least 1, is cut
            where two results are alive, or more.
        stages: a traced model that has fewer places to cut than these need is cut finer.

    Returns:
        The pieces, an `nn.Sequential`.

    Raises:
        ValueError: if torch cannot trace the model, with what torch said.
        RuntimeError: for BatchNorm in training mode in a traced model.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2)))
        >>> chain(model).layers
        ['0', '1.0', '1.1']
    """
    counts(largest=largest, stages=stages)
    if isinstance(model, Chain):
        return model
    check_wrapped(model)
    if opens(model):
        given = _split(example)[0] if example else ()
        return _made(Chain(*layer_pieces(model, given)), Origin(model), model.training)
    if is_sequence(model) and not example:
        raise ValueError(
            f"the network has {' and '.join(hooks(model)) or 'a __call__ of its own'}, which its "
            "layers alone would not run: register them on one of its layers, or pass an example, "
            "with which it is traced"
        )
    tensors, options = _split(example)
    whole = _traced(Example(model, tensors, options), largest, stages)
    return _made(whole, Origin(model, tensors, options), model.training)


def full_names(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of a piece, or of a chain or part of one, by their names in the model.

    Example:
        >>> from pprs.pipeline import chain
        >>> whole = chain(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
        >>> list(full_names(whole[2:]))
        ['2.weight', '2.bias']
    """
    parts = module if isinstance(module, Chain) else [module]
    found: dict[str, nn.Parameter] = {}
    for part in parts:
        names = part.meta.get("names", {}) if isinstance(part, fx.GraphModule) else {}
        found |= {names.get(name, name): p for name, p in part.named_parameters()}
    return found


def ties(whole: Chain) -> list[set[int]]:
    """The pieces that share parameters, by their indices in the chain.

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


def reused(whole: Chain) -> set[str]:
    """The parameters that are used in several places, between which the chain may be cut."""
    uses: Counter[str] = Counter()
    for piece in whole:
        if isinstance(piece, fx.GraphModule) and "names" not in piece.meta:  # traced
            names = {n.target: len(n.users) for n in piece.graph.find_nodes(op="get_attr")}
            uses.update({name: names[name] for name in full_names(piece)})
        else:
            uses.update(full_names(piece).keys())
    return {name for name, number in uses.items() if number > 1}


def _traced(example: Example, largest: int, stages: int) -> Chain:
    training = example.model.training

    def cut(traced: Traced) -> Chain:
        flow, finest = LiveTensors(traced), largest
        whole = Chain(*pieces(flow, cuts(flow, finest), training))
        while finest > 1 and len(whole) < stages:
            finest //= 2
            whole = Chain(*pieces(flow, cuts(flow, finest), training))
        whole.largest = finest
        return whole

    own = trace(example)
    whole = cut(own)
    if same_in_other_mode(example, whole):
        return whole
    try:
        with example.in_other_mode():
            other = trace(example)
    except (RuntimeError, ValueError):  # one mode is all it has
        other = None
    if other is not None and take_both(own.graph, other.graph, training):
        return cut(own)
    whole.fixed = True
    return whole


def _made(whole: Chain, origin: Origin, training: bool) -> Chain:
    whole.origin, whole.training = origin, training
    return whole


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
