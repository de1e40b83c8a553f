"""The layer of a model that fails, and the input on which it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pprs.pipeline.labels import are_labels


def failing_layer(model: nn.Module, run: Callable[[], object]) -> tuple[str, bool]:
    """The innermost layer in which a run of the model fails, and what it was given.

    Args:
        model: that fails.
        run: runs it once more.

    Returns:
        A phrase, and whether it says the reason; the phrase is empty if it fails in no layer.
    """
    running: list[tuple[str, nn.Module, tuple[Any, ...]]] = []
    hooks = []
    for name, layer in model.named_modules():
        if name:
            hooks.append(layer.register_forward_pre_hook(_entering(running, name)))
            hooks.append(layer.register_forward_hook(lambda *_: running.pop() and None))
    try:
        with torch.no_grad():
            run()
    except KeyboardInterrupt:
        raise
    except BaseException:
        if running:
            return _said(*running[-1])
    finally:
        for hook in hooks:
            hook.remove()
    return "", False


def shown(tensor: Tensor) -> str:
    """Shape and type of a tensor."""
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _entering(running: list[tuple[str, nn.Module, tuple[Any, ...]]], name: str) -> Any:
    def enter(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        running.append((name, layer, inputs))

    return enter


def _said(name: str, layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[str, bool]:
    kind = type(layer).__name__
    x = next((value for value in inputs if isinstance(value, Tensor)), None)
    sizes = f" {layer.in_features}->{layer.out_features}" if isinstance(layer, nn.Linear) else ""
    called = f'layer "{name}" ({kind}{sizes})'
    reason = _reason(layer, x) if x is not None else None
    if reason is not None:
        return f"{called} {reason}", True
    return called + (f" failed on {shown(x)}" if x is not None else " failed"), False


def _reason(layer: nn.Module, x: Tensor) -> str | None:
    if isinstance(layer, nn.Embedding):
        return _no_index(layer, x)
    weight = next((p for p in layer.parameters(recurse=False) if p.is_floating_point()), None)
    if weight is not None and x.dtype != weight.dtype and not torch.is_autocast_enabled("cpu"):
        wanted, got = (str(t.dtype).removeprefix("torch.") for t in (weight, x))
        method = {"float32": "float", "float64": "double", "float16": "half"}.get(wanted, wanted)
        return (
            f"has {wanted} parameters, got {got}: give it inputs of its type, as .{method}() does"
        )
    if isinstance(layer, nn.Linear) and x.shape[-1:] != (layer.in_features,):
        return f"expects {layer.in_features} features, got {x.shape[-1] if x.dim() else 'none'}"
    if isinstance(layer, nn.LayerNorm):
        last = tuple(layer.normalized_shape)
        if tuple(x.shape[-len(last) :]) != last:
            return f"expects inputs of shape (..., {', '.join(map(str, last))}), got {shown(x)}"
    dimensions = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        n = next(n for conv, n in dimensions.items() if isinstance(layer, conv))
        if x.dim() != n + 2 or x.shape[1] != layer.in_channels:
            sizes = ", ".join(("depth", "height", "width")[3 - n :])
            return f"expects inputs of shape (m, {layer.in_channels}, {sizes}), got {shown(x)}"
    return None


def _no_index(layer: nn.Embedding, x: Tensor) -> str | None:
    if not are_labels(x):
        return f"expects whole numbers (int64), got {shown(x)}"
    wrong = x[(x < 0) | (x >= layer.num_embeddings)]
    if not len(wrong):
        return None
    last = layer.num_embeddings - 1
    return f"has rows for the numbers 0 to {last}, got {int(wrong[0])}"
