"""What the stages of a pipeline have learned, brought together."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.optim import Optimizer

from pprs.pipeline import Pipeline
from pprs.pipeline.communication import broadcast


@torch.no_grad()
def share(pipeline: Pipeline, model: nn.Module) -> None:
    """Let the model in every process hold what all stages hold; a collective call.

    Args:
        pipeline: of this model.
        model: whose parameters and buffers get the values.
    """
    changing = {n: t for stage in pipeline.local.values() for n, t in stage.changing().items()}
    own = {name: t for name, t in changing.items() if pipeline.owns(name)}
    there = dict(model.named_parameters(remove_duplicate=False))
    here = there | dict(model.named_buffers(remove_duplicate=False))
    for rank in range(pipeline.mesh.ranks):
        for name in broadcast(list(own), rank, pipeline.tied.group):
            value = own.get(name, here[name]).detach().contiguous()
            dist.broadcast(value, group=pipeline.tied.group, group_src=rank)
            here[name].copy_(value)


def keep_own(optimizer: Optimizer, pipeline: Pipeline) -> None:
    """Forget the state of parameters that are in other processes' stages."""
    own = set(pipeline.named_parameters().values())
    for parameter in [p for p in optimizer.state if p not in own]:
        del optimizer.state[parameter]


def whole_state(optimizer: Optimizer, pipeline: Pipeline) -> dict[str, Any] | None:
    """The state of an optimizer over all parameters of the model, in the first process of a copy.

    Args:
        optimizer: of this process, over the parameters of all stages in the same order; its own
            are the ones that steps change.
        pipeline: of the model.
    """
    counted = {p for name, p in pipeline.named_parameters().items() if pipeline.owns(name)}
    found = optimizer.state_dict()
    numbered = {
        i: parameter
        for group, saved in zip(optimizer.param_groups, found["param_groups"], strict=True)
        for parameter, i in zip(group["params"], saved["params"], strict=True)
    }
    own = {i: state for i, state in found["state"].items() if numbered.get(i) in counted}
    parts: list[dict[int, Any]] | None = None
    if dist.get_rank(pipeline.tied.group) == 0:
        parts = [{} for _ in range(pipeline.mesh.ranks)]
    dist.gather_object(own, parts, group=pipeline.tied.group, group_dst=0)
    if parts is None:
        return None
    return found | {"state": {i: state for part in parts for i, state in sorted(part.items())}}
