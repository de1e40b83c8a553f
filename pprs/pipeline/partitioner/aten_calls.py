"""Calls of ATen operations, as torch.export records them, turned into those that models make."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch._ops import OpOverload

from pprs.pipeline.partitioner.lost_in_trace import FUNCTIONS


def copied(graph: fx.Graph, device: torch.device) -> fx.Graph:
    """A graph in the functions that models call, which follows its first input's device."""
    new = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node.op == "call_function":
            copies[node] = call(new, node, copies.__getitem__, device)
        else:
            copies[node] = new.node_copy(node, copies.__getitem__)
    return new


def call(
    graph: fx.Graph, node: fx.Node, copy: Callable[[fx.Node], Any], device: torch.device
) -> fx.Node:
    """Copy a call to a graph."""
    target, args, kwargs = _called(node)

    def mapped(value: Any) -> Any:
        if isinstance(value, fx.Node):
            return copy(value)
        if isinstance(value, torch.device) and value == device:
            return _here(graph) or value
        return value

    args, kwargs = fx.node.map_aggregate((args, kwargs), mapped)
    args, kwargs = _by_mode(graph, node, args, kwargs)
    return graph.call_function(target, args, kwargs)


def _here(graph: fx.Graph) -> fx.Node | None:
    """The device of a graph's first input: a piece may move after it was traced."""
    for node in graph.nodes:
        if node.op == "placeholder":
            return graph.call_function(getattr, (node, "device"))
    return None


def operation(node: fx.Node) -> str:
    """The name of the ATen operation that a node calls, `""` if none."""
    target = node.target
    return target._schema.name.split("::")[1] if isinstance(target, OpOverload) else ""


def writes(node: fx.Node) -> bool:
    """Whether a node changes the memory of an argument."""
    target = node.target
    return isinstance(target, OpOverload) and bool(target._schema.is_mutable)


def _with_grad(enabled: bool, body: nn.Module, *inputs: Any) -> Any:
    with torch.set_grad_enabled(enabled):
        return body(*inputs)


def _with_autocast(
    device: str,
    dtype: torch.dtype | None,
    enabled: bool,
    cache: bool,
    body: nn.Module,
    *inputs: Any,
) -> Any:
    with torch.autocast(device, dtype, enabled, cache):
        return body(*inputs)


def _embedding(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    padding = None if padding_idx == -1 else padding_idx
    return F.embedding, (indices, weight, padding, None, 2.0, scale_grad_by_freq, sparse)


# Smoothing has rules for these functions of torch; an ATen operation it only gives the perturbed
# parameters, at more cost and with other noise. The arguments are the same.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(torch, name)
    for name in [
        *("conv1d", "conv2d", "conv3d", "addmm", "mm", "matmul", "t", "transpose"),
        *("lstm", "gru", "rnn_tanh", "rnn_relu"),
        *("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"),
        *("batch_norm", "instance_norm", "layer_norm", "group_norm", "rms_norm"),
        *("bilinear", "prelu", "_weight_norm"),
    ]
}
_FUNCTIONS |= {
    "linear": F.linear,
    "scaled_dot_product_attention": F.scaled_dot_product_attention,
    "numpy_T": torch.t,
    # Strides differ from the example's: between stages tensors are contiguous, in vmap batched.
    "view": torch.reshape,
}
_HIGHER = {"wrap_with_set_grad_enabled": _with_grad, "wrap_with_autocast": _with_autocast}


def _called(node: fx.Node) -> tuple[Callable[..., Any], Any, Any]:
    """What a node calls: the function of torch that the model called, where that matters."""
    target: Any = node.target
    args: Any = node.args
    name = operation(node)
    if name == "embedding":
        function, args = _embedding(*args, **node.kwargs)  # type: ignore[arg-type]
        return function, args, {}
    if name in FUNCTIONS:
        return FUNCTIONS[name], args, node.kwargs
    matrix = name != "numpy_T" or args[0].meta["val"].dim() == 2
    copies = name != "view" or ("written" not in node.meta and not isinstance(args[1], torch.dtype))
    if matrix and copies:
        target = _HIGHER.get(getattr(target, "__name__", ""), _FUNCTIONS.get(name, target))
    return target, args, node.kwargs


def mark_mode(graph: fx.Graph, training: bool) -> None:
    """Note at each call that drops values if it did so because of the model's mode.

    Args:
        graph: as it was traced.
        training: the mode of the model, which some of its parts may not share.
    """
    for node in graph.nodes:
        if operation(node) == "scaled_dot_product_attention":
            node.meta["follows"] = training
        elif "train" in _arguments(node):
            node.meta["follows"] = _given(node, "train") == training


def _by_mode(graph: fx.Graph, node: fx.Node, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Let what drops values follow `train()` and `eval()` of the piece."""
    if "other" in node.meta:
        other = node.meta["other"]
        args, kwargs = _chosen(graph, (args, kwargs), other, node.meta["training"])
        return args, kwargs
    if not node.meta.get("follows"):
        return args, kwargs
    name, value = "train", graph.create_node("get_attr", "training")
    if "dropout_p" in _arguments(node):
        name = "dropout_p"
        value = graph.call_function(operator.mul, (_given(node, name) or 0.0, value))
    index = _arguments(node).index(name)
    if index < len(args):
        return (*args[:index], value, *args[index + 1 :]), kwargs
    return args, {**kwargs, name: value}


def _chosen(graph: fx.Graph, own: Any, other: Any, training: bool) -> Any:
    """The arguments of the piece's mode, of those that a call was traced with in both."""
    if isinstance(own, tuple | list):
        pairs = zip(own, other, strict=True)
        return type(own)(_chosen(graph, a, b, training) for a, b in pairs)
    if isinstance(own, dict):
        return {key: _chosen(graph, own[key], other[key], training) for key in own}
    if isinstance(own, fx.Node) or own == other:
        return own
    values = (other, own) if training else (own, other)
    mode = graph.create_node("get_attr", "training")
    return graph.call_function(operator.getitem, (values, mode))


def _arguments(node: fx.Node) -> list[str]:
    target = node.target
    return [a.name for a in target._schema.arguments] if isinstance(target, OpOverload) else []


def _given(node: fx.Node, name: str) -> Any:
    return (dict(zip(_arguments(node), node.args, strict=False)) | dict(node.kwargs)).get(name)
