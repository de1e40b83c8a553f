"""All that can be known to be wrong before a process starts or a folder is made."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import vmap

from pprs.pipeline import Chain, CheckpointError, chain, full_names
from pprs.pipeline.cutting import cut_chain
from pprs.pipeline.saving.peers import check_plain
from pprs.pipeline.saving.shards import check_fits, read_manifest
from pprs.pipeline.schedule import check_recompute
from pprs.training.config import TrainConfig
from pprs.training.data import Batch, Examples
from pprs.training.evaluation import has_accuracy
from pprs.training.learning import Learning
from pprs.training.load import failing
from pprs.training.resume import checkpoint_of
from pprs.training.task import Task


def check(config: TrainConfig) -> Path | None:
    """Build and try what the settings name, in this process.

    Returns:
        The checkpoint to go on from, if that is asked for.

    Raises:
        ValueError: if anything is wrong.
    """
    if config.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ValueError("tensorboard is not installed: pip install 'pprs[tensorboard]'")
    if config.recompute:
        check_recompute(config.schedule)
    task = Task.of(config)
    _check_sizes(config, task)
    outputs, target = _try(config, task, task.training, "the training data")
    if task.validation is not None:
        outputs, target = _try(config, task, task.validation, "the validation data")
    if config.target_accuracy is not None and not has_accuracy(outputs, target):
        raise ValueError(
            f"target_accuracy needs integer labels and outputs with one more dimension, got "
            f"{_shown(target)} and {_shown(outputs)}"
        )
    learning = Learning(config, task.model.parameters(), task.steps)
    check_plain(f"the state of decay={config.decay}", learning.state())
    whole = _pieces(config, task)
    cut_chain(whole, config.stages, cut=config.cut or None)
    if config.resume is None:
        return None
    start = checkpoint_of(config.resume)
    _check_checkpoint(config, start, whole, learning, task.steps)
    return start


def _check_sizes(config: TrainConfig, task: Task) -> None:
    for size in sorted(task.order.sizes, reverse=True):
        try:
            config.microbatches_of(size)
        except ValueError as error:
            raise ValueError(
                f"a batch of {size} of the {len(task.training)} examples does not fit: {error}"
            ) from None


def _try(config: TrainConfig, task: Task, examples: Examples, what: str) -> tuple[Tensor, Tensor]:
    """The model's outputs for two examples, and their targets."""
    batch = examples.example()
    shapes = ", ".join(_shown(x) for x in batch.inputs)
    arguments = examples.arguments(batch)
    with failing(f"the model failed on two examples of {what}, {shapes}"), torch.no_grad():
        keywords = arguments[0] if examples.keywords is not None else {}
        returned = task.model(**keywords) if keywords else task.model(*arguments)
        outputs = getattr(returned, "logits", returned)
    if not isinstance(outputs, Tensor):
        raise ValueError(
            f"the model must return a tensor, or an object with one as .logits, got a "
            f"{type(returned).__name__}"
        )
    if outputs.shape[:1] != (2,) or not outputs.is_floating_point():
        raise ValueError(
            f"the model must return a row of numbers for each example: for two of {what}, "
            f"{shapes}, it returned {_shown(outputs)}"
        )
    _check_same_shapes(task, batch, what)
    _check_loss(config, task, outputs, batch.target)
    return outputs, batch.target


def _check_same_shapes(task: Task, batch: Batch, what: str) -> None:
    if type(task.model).forward is nn.Sequential.forward:
        return
    first = task.training.example()
    if [x.shape for x in first.inputs] != [x.shape for x in batch.inputs]:
        raise ValueError(
            f"a model is traced for inputs of one shape, but {what} has "
            f"{', '.join(_shown(x) for x in batch.inputs)} and the training data "
            f"{', '.join(_shown(x) for x in first.inputs)}"
        )


def _check_loss(config: TrainConfig, task: Task, outputs: Tensor, target: Tensor) -> None:
    of = f"the loss, {config.loss}, of outputs {_shown(outputs)} and targets {_shown(target)}"
    if config.loss == "mse" and outputs.shape != target.shape:
        raise ValueError(f"{of} needs two of one shape")
    scores = outputs.detach().requires_grad_()
    with failing(f"{of} failed"):
        value = task.loss(scores, target)
    if not isinstance(value, Tensor) or value.dim() != 0 or not value.is_floating_point():
        got = _shown(value) if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise ValueError(f"{of} must be a scalar tensor, got {got}")
    gradient = None
    if value.requires_grad:
        with failing(f"the gradient of {of} failed"):
            (gradient,) = torch.autograd.grad(value, scores, allow_unused=True)
    if gradient is None:
        raise ValueError(f"{of} has no gradient: it must be computed from them by torch functions")
    if not value.isfinite():
        raise ValueError(f"{of} must be finite, got {value.item()}")
    with failing(f"{of} failed under torch.func.vmap, which runs all perturbations at once"):
        vmap(task.loss)(scores[None], target[None])


def _pieces(config: TrainConfig, task: Task) -> Chain:
    try:
        return chain(task.model, *task.example())
    except RuntimeError as error:
        raise ValueError(f"model={config.model}: {error}") from None


def _check_checkpoint(
    config: TrainConfig, path: Path, whole: Chain, learning: Learning, steps: int
) -> None:
    try:
        manifest = read_manifest(path)
    except CheckpointError as error:
        raise ValueError(f"cannot go on from {path}: {error}") from None
    if manifest.step > steps:
        raise ValueError(
            f"{path} has done {manifest.step} steps already, and {steps} were asked for: ask for "
            f"more, or resume an older checkpoint"
        )
    parameters = {n: p for n, p in full_names(whole).items() if p.requires_grad}
    check_fits(manifest, {f"model.{name}": p for name, p in parameters.items()})
    kind = type(learning.optimizer).__name__
    if manifest.numbers["optimizer"]["type"] != kind:
        raise ValueError(
            f"{path} has the state of {manifest.numbers['optimizer']['type']}, so the run cannot "
            f"go on with {kind}"
        )
    if manifest.numbers["user"]["learning"]["decay"].keys() != learning.state()["decay"].keys():
        raise ValueError(f"{path} has the state of another kind of decay than {config.decay}")


def _shown(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
