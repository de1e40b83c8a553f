"""The graph that torch.export records of a model, in the functions that the model calls."""

from __future__ import annotations

import io
import logging
import sys
import traceback
import warnings
from collections.abc import Iterator, Set
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from pprs._user_line import user_line
from pprs.pipeline.partitioner.aten_calls import copied, mark_mode, operation, writes
from pprs.pipeline.partitioner.example import Example
from pprs.pipeline.partitioner.lost_in_trace import watched
from pprs.pipeline.partitioner.untraceable import check_backward_hooks
from pprs.pipeline.snapshot import untouched
from pprs.smoothing import check_normalisation

_MODEL = "model"  # what the exported module calls the user's
_HERE = str(Path(__file__).parent)
_MISTAKES = (AttributeError, NameError, LookupError, AssertionError, ImportError)


@dataclass(frozen=True)
class Traced:
    """A model's graph.

    Args:
        graph: its placeholders are the inputs; its `get_attr` nodes are called as in `attributes`.
        attributes: parameters and buffers by their names in the model, constants, bodies of graphs.
        transient: names of what no checkpoint has: constants, and buffers that are not persistent.
        device: where the example was.
        output: what the model gives, with numbers of the graph's outputs in place of tensors.
    """

    graph: fx.Graph
    attributes: dict[str, Any]
    transient: frozenset[str]
    device: torch.device
    output: Any


def trace(example: Example) -> Traced:
    """Trace a model with `torch.export.export`, its batch free.

    Raises:
        ValueError: if torch cannot trace it, with what torch said.
        RuntimeError: for BatchNorm in training mode, and for mistakes of this package.
    """
    model = example.model
    check_normalisation(model)
    check_backward_hooks(model)
    try:
        kept = untouched(model)  # a trace leaves tensors without values in it
        with kept, watched(model, example.assigned) as lost, warnings.catch_warnings():
            # Recurrent layers list their weights anew, which changes nothing.
            warnings.filterwarnings("ignore", "The tensor attributes .*_flat_weights")
            with _quiet():
                program = torch.export.export(
                    example.adapter,
                    tuple(example.inputs),
                    dynamic_shapes=(example.free,),
                    strict=False,
                )
    except Exception as error:  # whatever the model's own code raises when it is traced
        _check_own(error, model)
        said = str(error).strip().split("\n\n")[0] or type(error).__name__
        place = user_line(error)
        said = f"{said} ({place})" if place else said
        raise ValueError(
            f"torch.export cannot trace {type(model).__name__}: {said}. Take what depends on the "
            "values of tensors (if, for, int(), .item()) out of its forward; or pass an "
            "nn.Sequential of its layers, which needs no tracing"
        ) from error
    if lost:
        raise ValueError(
            f"the forward of {type(model).__name__} {' and '.join(dict.fromkeys(lost))}, which its "
            "trace does not repeat in every step: take it out of the forward, or pass an "
            "nn.Sequential of its layers, which needs no tracing"
        )
    mark_mode(program.graph, model.training)
    return _named(program, model, example.inputs[0].device, example.outputs[-1])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch prints of a graph that it cannot trace from covering the error."""
    printed, shapes = io.StringIO(), logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = shapes.level
    shapes.setLevel(logging.ERROR)
    try:
        with redirect_stderr(printed):
            yield
        sys.stderr.write(printed.getvalue())  # the model's own words
    finally:
        shapes.setLevel(level)


def _check_own(error: Exception, model: nn.Module) -> None:
    """Raise `RuntimeError` if a trace failed in this package, where no change of a model helps."""
    (*_, last) = traceback.extract_tb(error.__traceback__)
    if isinstance(error, _MISTAKES) and last.filename.startswith(_HERE):
        raise RuntimeError(
            f"tracing {type(model).__name__} failed in pprs itself ({Path(last.filename).name}, "
            f"line {last.lineno}), with torch {torch.__version__}: {type(error).__name__}: {error}."
            " This is a mistake of pprs, not of the model: please report it"
        ) from error


def _named(program: ExportedProgram, model: nn.Module, device: torch.device, output: Any) -> Traced:
    """Parameters, buffers and constants as attributes, called as in the model."""
    graph = program.graph
    canonical = {id(p): name for name, p in model.named_parameters()}
    persistent = model.state_dict(keep_vars=True).keys()
    attributes: dict[str, Any] = {}
    transient: set[str] = set()
    specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    for node in graph.find_nodes(op="placeholder"):
        spec = specs[node.name]
        if spec.kind == InputKind.USER_INPUT:
            continue
        name = str(spec.target).removeprefix(f"{_MODEL}.")
        if spec.kind == InputKind.PARAMETER:
            value: Any = model.get_parameter(name)
            name = canonical[id(value)]
        elif spec.kind == InputKind.BUFFER:
            value = model.get_buffer(name)
        else:
            value = program.constants[str(spec.target)]
        if spec.kind != InputKind.PARAMETER and name not in persistent:
            transient.add(name)
        attributes[name] = value
        _to_attribute(graph, node, name)
    for node in graph.find_nodes(op="get_attr"):
        if node.target not in attributes:
            attributes[node.target] = _body(getattr(program.graph_module, node.target), device)
    _clean(graph, {name for name, _ in model.named_buffers(remove_duplicate=False)})
    return Traced(graph, attributes, frozenset(transient), device, output)


def _to_attribute(graph: fx.Graph, node: fx.Node, name: str) -> None:
    with graph.inserting_before(node):
        attribute = graph.create_node("get_attr", name)
    attribute.meta = dict(node.meta)
    node.replace_all_uses_with(attribute)
    graph.erase_node(node)


def _body(module: fx.GraphModule, device: torch.device) -> fx.GraphModule:
    """A part of the graph that ran under another setting, such as `torch.no_grad`."""
    _clean(module.graph)
    attributes: dict[str, Any] = {}
    for node in module.graph.find_nodes(op="get_attr"):
        attributes[node.target] = _body(getattr(module, node.target), device)
    return fx.GraphModule(attributes, copied(module.graph, device))


def _clean(graph: fx.Graph, own: Set[str] = frozenset()) -> None:
    """Remove checks of the example's shapes and types, and what nobody reads.

    Args:
        graph: to clean.
        own: names of the model's buffers, which others may read.
    """
    for node in reversed(graph.nodes):
        name = operation(node)
        check = name.startswith(("_assert", "sym_constrain"))
        unread = not node.users and node.op in ("call_function", "get_attr")
        if check or (unread and not writes(node)):
            graph.erase_node(node)
        elif name == "copy_" and not node.users:
            _early(node, own)
        elif name == "detach_":  # of a constant that is made anew each time
            node.target = torch.ops.aten.detach.default


def _early(node: fx.Node, own: Set[str]) -> None:
    """Let a buffer change as soon as it can, so that the graph may be cut after that."""
    buffer, value = node.args
    if not isinstance(buffer, fx.Node) or not isinstance(value, fx.Node):
        return
    if buffer.op == "get_attr" and buffer.target not in own and len(buffer.users) == 1:
        node.graph.erase_node(node)  # an attribute that every forward makes anew
        return
    source = value.args[0] if operation(value) == "detach" else value
    if not isinstance(source, fx.Node):
        return
    others = {*source.users, *value.users, *buffer.users, source, value, buffer} - {node}
    if not any(map(writes, others)):
        if source is not value:
            source.append(value)
        order = {other: index for index, other in enumerate(node.graph.nodes)}
        last = max({value, buffer, *buffer.users} - {node}, key=order.__getitem__)
        last.append(node)
