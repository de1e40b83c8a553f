"""A pipeline with its optimizer, as what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from pprs.optim import SearchedStep
from pprs.pipeline.checkpoint.checkpoints import Checkpoints
from pprs.pipeline.checkpoint.collectives import CheckpointError
from pprs.pipeline.checkpoint.named_optimizer_state import (
    belongs_to,
    load_optimizer_state,
    optimizer_state,
)
from pprs.pipeline.step_agreement import check_copies

if TYPE_CHECKING:
    from pprs.pipeline.pipeline import Pipeline


def save_run(
    checkpoints: Checkpoints,
    pipeline: Pipeline,
    optimizer: Optimizer | SearchedStep,
    **numbers: Any,
) -> None:
    """Save what steps change, the optimizer's state and the number of steps; a collective call.

    That is parameters that were trainable at any time since the pipeline was built, and buffers,
    unless they are not persistent.

    Args:
        checkpoints: where to.
        pipeline: whose steps count.
        optimizer: over `pipeline.named_parameters()`, or a searched step of one.
        numbers: what else to keep, of types that JSON knows; the same in all processes.

    Raises:
        ValueError: if processes that share a parameter hold different values of it.

    Example:
        >>> import tempfile
        >>> import torch
        >>> import torch.distributed as dist
        >>> from pprs.pipeline import Pipeline
        >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        >>> pipeline = Pipeline(nn.Sequential(nn.Linear(4, 1)), nn.MSELoss(), seed=0)
        >>> optimizer = torch.optim.SGD(pipeline.named_parameters().values(), lr=0.1)
        >>> loss = pipeline.step(torch.ones(2, 4), torch.ones(2, 1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Checkpoints(Path(folder), every=1) as kept:
        ...         save_run(kept, pipeline, optimizer, seen=2)
        ...     print(resume_run(kept, pipeline, optimizer), pipeline.steps)
        {'seen': 2} 1
        >>> dist.destroy_process_group()
    """
    check_copies(pipeline.tied)
    tensors, scalars = optimizer_state(optimizer, _parameters(pipeline))
    kept = {"step": pipeline.steps, "optimizer": scalars, "user": numbers}
    # What several copies of the pipeline hold, or several stages, is the same: one saves it.
    elsewhere = {name for name in _parameters(pipeline) if not pipeline.owns(name)}
    changing = {n: t for n, t in _changing(pipeline).items() if n not in elsewhere}
    not_here = belongs_to(elsewhere)
    tensors = {n: t for n, t in tensors.items() if not not_here(n)}
    own = {} if pipeline.replica else tensors | _named(changing)
    checkpoints.save(pipeline.steps, own, kept)


def resume_run(
    checkpoints: Checkpoints,
    pipeline: Pipeline,
    optimizer: Optimizer | SearchedStep,
    path: Path | None = None,
) -> dict[str, Any]:
    """Go on where a checkpoint was made; a collective call.

    The number of stages, copies and processes may be another one. With the same number the run ends
    as it would have without the interruption, bit for bit.

    Args:
        checkpoints: where from.
        pipeline: of the same network, seed and perturbation as the one that was saved.
        optimizer: of the same kind and with the same groups.
        path: of the checkpoint; the newest by default.

    Returns:
        The numbers that were passed to `save_run`.

    Raises:
        CheckpointError: if there is none, or it is damaged.
        ValueError: if it is another network's.

    Example:
        >>> if checkpoints.latest():  # doctest: +SKIP
        ...     resume_run(checkpoints, pipeline, optimizer)
    """
    path = path or checkpoints.latest()
    if path is None:
        raise CheckpointError(f"there is no checkpoint in {checkpoints.folder} to go on from")
    names = _parameters(pipeline)  # some may be frozen by now
    needed, optional = pipeline.named_parameters(), {**names, **_changing(pipeline)}
    numbers = checkpoints.load(path, _named(needed), _named(optional))
    tensors, _ = checkpoints.read(path, belongs_to(names))
    load_optimizer_state(optimizer, names, tensors, numbers["optimizer"])
    pipeline.steps = numbers["step"]
    user: dict[str, Any] = numbers["user"]
    return user


def _parameters(pipeline: Pipeline) -> dict[str, nn.Parameter]:
    return {n: p for stage in pipeline.local.values() for n, p in stage.all_parameters().items()}


def _changing(pipeline: Pipeline) -> dict[str, Tensor]:
    return {n: t for stage in pipeline.local.values() for n, t in stage.changing().items()}


def _named(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"model.{name}": tensor for name, tensor in tensors.items()}
