"""Checks of a run before a process starts or a folder is made."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn

from pprs._user_line import user_line
from pprs.pipeline import Chain, CheckpointError, chain, full_names
from pprs.pipeline.checkpoint import check_fits, check_plain, kind_of, read_manifest
from pprs.pipeline.partitioner import cut_chain
from pprs.pipeline.schedule import check_recompute
from pprs.training.check_loss import check_labels, check_loss, check_meaning
from pprs.training.check_seeded import check_seeded
from pprs.training.config import TrainConfig
from pprs.training.data import Batch, Examples
from pprs.training.dry_run import dry_run
from pprs.training.evaluation import has_accuracy
from pprs.training.failing_layer import failing_layer, shown
from pprs.training.learning import Learning
from pprs.training.resume import checkpoint_of
from pprs.training.searching import GradientsThere
from pprs.training.task import Task
from pprs.training.user_errors import check_signature, in_one_line, user_code


def check(config: TrainConfig) -> Path | None:
    """Build and try what the settings name, in this process.

    Returns:
        The checkpoint to go on from, if that is asked for.

    Raises:
        ValueError: if anything is wrong.
    """
    if config.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ValueError("tensorboard is not installed: pip install 'pprs[tensorboard]'")
    check_recompute(config.schedule, config.recompute)
    task = Task.of(config)
    _check_sizes(config, task)
    outputs, target = _try(config, task, task.training, "the training data")
    if task.validation is not None:
        outputs, target = _try(config, task, task.validation, "the validation data")
    if config.target_accuracy is not None and not has_accuracy(outputs, target):
        raise ValueError(
            f"target_accuracy needs integer labels and outputs with one more dimension, got "
            f"{shown(target)} and {shown(outputs)}"
        )
    check_seeded(config, task.training)
    check_meaning(config, task, outputs, target)
    evaluator = GradientsThere(task.model, config.perturbation)
    learning = Learning(config, task.model.parameters(), task.steps, evaluator)
    check_plain(f"the state of decay={config.decay}", learning.state())
    whole = _pieces(config, task)
    cut = _cut(config, whole)
    dry_run(config, task, whole, cut)
    learning.try_step()
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
    shapes = ", ".join(shown(x) for x in batch.inputs)
    returned = _run(task, examples, batch, what)
    with user_code("the model's .logits failed"):
        outputs = getattr(returned, "logits", returned)
    if not isinstance(outputs, Tensor):
        raise ValueError(
            f"the model must return a tensor, or an object with one as .logits, got a "
            f"{type(returned).__name__}: its outputs go to the loss"
        )
    if outputs.shape[:1] != (2,) or not outputs.is_floating_point():
        raise ValueError(
            f"the model must return a row of numbers for each example: for two of {what}, "
            f"{shapes}, it returned {shown(outputs)}"
        )
    _check_same_shapes(task, batch, what)
    check_labels(config, examples, outputs, batch, what)
    check_loss(config, task.loss, outputs, batch.target)
    return outputs, batch.target


def _run(task: Task, examples: Examples, batch: Batch, what: str) -> object:
    """What the model returns; or which layer fails on what, and where in the user's code."""
    arguments = examples.arguments(batch)
    keywords = arguments[0] if examples.keywords is not None else {}
    positional = () if keywords else arguments
    of = f"the inputs of {what}, {', '.join(map(str, keywords)) or len(positional)}"
    said = f"the model failed on two examples of {what}, {', '.join(map(shown, batch.inputs))}"
    check_signature("the model's forward", task.model.forward, positional, keywords, called=of)

    def run() -> object:
        return task.model(*positional, **keywords)

    try:
        with user_code(said), torch.no_grad():
            return run()
    except ValueError as error:
        layer, reason = failing_layer(task.model, run)
        if not layer:
            raise
        cause = error.__cause__
        assert cause is not None
        place = user_line(cause)
        end = (f" ({place})" if place else "") if reason else f": {in_one_line(cause)}"
        raise ValueError(f"{said}: {layer}{end}") from cause


def _check_same_shapes(task: Task, batch: Batch, what: str) -> None:
    if type(task.model).forward is nn.Sequential.forward:
        return
    first = task.training.example()
    if [x.shape for x in first.inputs] != [x.shape for x in batch.inputs]:
        raise ValueError(
            f"a model is traced for inputs of one shape, but {what} has "
            f"{', '.join(shown(x) for x in batch.inputs)} and the training data "
            f"{', '.join(shown(x) for x in first.inputs)}"
        )


def _cut(config: TrainConfig, whole: Chain) -> list[range]:
    try:
        # Where time decides, any cut will do here.
        return cut_chain(whole, config.stages, cut=config.cut or None)
    except ValueError as error:
        raise ValueError(f"stages={config.stages}: {error}") from None


def _pieces(config: TrainConfig, task: Task) -> Chain:
    try:
        whole = chain(task.model, *task.example(), stages=config.stages)
    except RuntimeError as error:
        raise ValueError(f"model={config.model}: {error}") from None
    evaluates = task.validation or config.target_loss is not None or config.target_accuracy
    if whole.fixed and evaluates:
        raise ValueError(
            f"model={config.model} computes something else in evaluation mode than in training "
            f"mode, which its trace does not have: take what depends on self.training out of its "
            f"forward, return an nn.Sequential of its layers, or leave the validation data out"
        )
    return whole


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
    kind = kind_of(learning.saved)
    if manifest.numbers["optimizer"]["type"] != kind:
        raise ValueError(
            f"{path} has the state of {manifest.numbers['optimizer']['type']}, so the run cannot "
            f"go on with {kind}"
        )
    if manifest.numbers["user"]["learning"]["decay"].keys() != learning.state()["decay"].keys():
        raise ValueError(f"{path} has the state of another kind of decay than {config.decay}")
