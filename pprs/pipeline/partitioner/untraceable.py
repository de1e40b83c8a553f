"""Models that tracing would change, refused with the name of the module."""

from __future__ import annotations

import sys

import torch
from torch import nn

_WRAPPERS = {
    "torch.nn.parallel": ("DataParallel", "DistributedDataParallel"),
    "torch.distributed.fsdp": ("FullyShardedDataParallel",),
    "torch._dynamo.eval_frame": ("OptimizedModule",),
}


def check_wrapped(model: nn.Module) -> None:
    """Raise `ValueError` for a model inside something that runs it its own way."""
    for place, kinds in _WRAPPERS.items():
        module = sys.modules.get(place)  # importing them takes seconds
        for kind in kinds:
            if module is not None and isinstance(model, getattr(module, kind)):
                inner = "_orig_mod" if kind == "OptimizedModule" else "module"
                raise ValueError(
                    f"the network is wrapped in {kind}: pass the plain model, network.{inner}; "
                    "the pipeline divides the work itself"
                )
    if isinstance(model, torch.jit.ScriptModule):
        raise ValueError("the network is compiled by torch.jit: pass the plain Python module")


def check_backward_hooks(model: nn.Module) -> None:
    """Raise `ValueError` for backward hooks on modules, which no trace has."""
    for name, module in model.named_modules():
        if module._backward_hooks or module._backward_pre_hooks:
            raise ValueError(
                f"{type(module).__name__} {name!r} has a backward hook, which tracing would leave "
                "out: remove it, or pass an nn.Sequential of the network's layers, which needs no "
                "tracing"
            )
