"""A pipeline inside a trainer that takes its loss from `compute_loss`."""

from __future__ import annotations

import math
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import HashStore  # type: ignore[attr-defined]
from torch.nn.utils import clip_grads_with_norm_

from pprs.integrations.batch_number import BatchNumber
from pprs.integrations.one_process import act_as_one_process
from pprs.integrations.outputs_loss import OutputsLoss
from pprs.integrations.pipeline_loss import pipeline_loss
from pprs.integrations.whole_model import keep_own, share, whole_state
from pprs.pipeline import Pipeline
from pprs.pipeline.communication import broadcast, gathered
from pprs.smoothing import Perturbation, derive_seed

_SHAPES = 8  # of batches, whose traces are kept


class Pipelined:
    """What to put before Hugging Face's `Trainer`, or another class made from it.

    Each process that torchrun starts trains some layers of the model, on the same batches: what
    Trainer does with the model, its optimizer and its files is what it does in one process. Every
    process keeps the parameters of the whole model; gradients, activations and the optimizer's
    state are those of its own layers. They are exchanged before evaluation, before a checkpoint
    and at the end. Evaluation runs the whole model in every process.

    Args:
        perturbation: what is averaged; by default nothing is perturbed, and the examples of a
            batch are divided into microbatches.
        pipeline: other arguments of `pprs.pipeline.Pipeline`, such as `{"microbatches": 4}`.

    Raises:
        ValueError: for what cannot be trained so, or arguments out of range.
    """

    args: Any
    accelerator: Any
    label_names: Any
    model: Any
    optimizer: Any
    state: Any
    _loss_shifts_labels: bool

    def __init__(
        self,
        *arguments: Any,
        perturbation: Perturbation | None = None,
        pipeline: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        split = {"split": "examples"} if perturbation is None else {"perturbation": perturbation}
        self._how: dict[str, Any] = split | dict(pipeline or {})
        self._batch = BatchNumber()
        self._loss: OutputsLoss | None = None
        self._pipelines: OrderedDict[object, Pipeline] = OrderedDict()  # the last is the last used
        self._own: list[str] | None = None  # parameters of the stages here
        self._apart = False  # whether processes may hold different values
        super().__init__(*arguments, **options)

    def create_accelerator_and_postprocess(self) -> None:
        """As the trainer's, for a process by itself."""
        _check(self.args)
        if not dist.is_initialized():
            dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
        act_as_one_process()
        own: Any = super()
        own.create_accelerator_and_postprocess()

    def _get_dataloader(self, *arguments: Any, **options: Any) -> Any:
        act_as_one_process()
        own: Any = super()
        return own._get_dataloader(*arguments, **options)

    def train(self, *arguments: Any, **options: Any) -> Any:
        """As the trainer's, on all ranks."""
        self._pipelines.clear()
        self._loss = self._own = None
        own: Any = super()
        return own.train(*arguments, **options)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss of a batch by the pipeline while gradients are recorded; else the trainer's."""
        own: Any = super()
        if not torch.is_grad_enabled():
            return own.compute_loss(
                model,
                inputs,
                return_outputs=return_outputs,
                num_items_in_batch=num_items_in_batch,
            )
        if return_outputs:
            raise ValueError(
                "compute_loss was asked for the outputs of a training step, which only the last "
                "stage has: evaluate under torch.no_grad()"
            )
        label = self._label(inputs)
        if self._loss is None:
            how = self._how.get("split"), getattr(self._how.get("perturbation"), "noise", None)
            self._loss = OutputsLoss(
                own.compute_loss, model, inputs, label, self._counted, divided="example" in str(how)
            )
        inputs = dict(inputs)
        labels = inputs.pop(label)
        self._loss.of_batch(labels, num_items_in_batch)
        with _own_forward(model):
            pipeline = self._pipeline(model, inputs)
            self._key_noise(pipeline)
            tensors = tuple(x for x in inputs.values() if isinstance(x, Tensor))
            self._apart = True
            with self.accelerator.autocast():
                return pipeline_loss(pipeline, tensors, labels)

    def evaluation_loop(self, *arguments: Any, **options: Any) -> Any:
        """As the trainer's, in every process with all that was learned; a collective call."""
        own: Any = super()
        if callable(getattr(getattr(self.optimizer, "optimizer", None), "eval", None)):
            self.optimizer.eval()  # changes the parameters
            self._apart = bool(self._pipelines)
        self._share()
        found = own.evaluation_loop(*arguments, **options)
        # All decide alike on what the first has measured.
        return found._replace(metrics=broadcast(found.metrics, 0))

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As the trainer's: the whole model, by the first process."""
        self._share()
        own: Any = super()
        own.save_model(output_dir, _internal_call)
        if _internal_call:
            dist.barrier()  # all look for it next

    def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
        own: Any = super()
        own._save_checkpoint(*arguments, **options)
        dist.barrier()

    def _save_rng_state(self, output_dir: str) -> None:
        own: Any = super()
        if self.args.should_save:  # it is the same in all
            own._save_rng_state(output_dir)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        own: Any = super()
        own._save_optimizer_and_scheduler(output_dir)
        whole = whole_state(self.optimizer.optimizer, self._last)
        if self.args.should_save:
            torch.save(whole, Path(output_dir, "optimizer.pt"))

    def _finalize_training(self, *arguments: Any, **options: Any) -> Any:
        self._share()
        own: Any = super()
        return own._finalize_training(*arguments, **options)

    def _clip_grad_norm(self, model: nn.Module) -> Tensor:
        norm = self._get_grad_norm(model)
        clip_grads_with_norm_(self._last.named_parameters().values(), self.args.max_grad_norm, norm)
        return norm

    def _get_grad_norm(self, model: nn.Module, grad_norm: Tensor | None = None) -> Tensor:
        if grad_norm is None:
            norm = self._last.clip_grad_norm_(math.inf)
            grad_norm = torch.tensor(norm, dtype=torch.float64)
        return grad_norm

    @property
    def _last(self) -> Pipeline:
        return next(reversed(self._pipelines.values()))

    def _share(self) -> None:
        if self._apart:
            share(self._last, self.model)
        self._apart = False

    def _label(self, inputs: Mapping[str, Any]) -> str:
        names = [name for name in self.label_names if inputs.get(name) is not None]
        if len(names) != 1 or not isinstance(inputs[names[0]], Tensor):
            raise ValueError(
                f"a batch must have one tensor of labels, by one of the names {self.label_names}, "
                f"but it has {', '.join(inputs)}: pass label_names= to TrainingArguments"
            )
        name: str = names[0]
        return name

    def _counted(self, labels: Tensor) -> Tensor:
        return (labels[..., 1:] if self._loss_shifts_labels else labels).ne(-100).sum()

    def _pipeline(self, model: nn.Module, inputs: Mapping[str, Any]) -> Pipeline:
        """The pipeline for batches of this shape, which is traced for each."""
        key = tuple(
            (name, (x.shape[1:], x.dtype) if isinstance(x, Tensor) else repr(x))
            for name, x in inputs.items()
        )
        if key not in self._pipelines:
            self._share()  # the model is traced, and compared, as it is now
            made = self._traced(model, inputs)
            self._pipelines[key] = made
            keep_own(self.optimizer.optimizer, made)
            if len(self._pipelines) > _SHAPES:
                self._pipelines.popitem(last=False)
                warnings.warn(
                    f"the model is traced anew for batches of more than {_SHAPES} shapes, which "
                    f"takes the time of several steps for each: pad them to few lengths, as by "
                    f"pad_to_multiple_of=64 of the data collator",
                    stacklevel=2,
                )
        self._pipelines.move_to_end(key)
        return self._pipelines[key]

    def _traced(self, model: nn.Module, inputs: Mapping[str, Any]) -> Pipeline:
        assert self._loss is not None
        options = {"seed": self.args.seed, "device": self.args.device} | self._how
        made = Pipeline(model, self._loss, example=(inputs,), **options)
        own = list(made.named_parameters())
        others = self._own or own
        self._own = others
        moved = [name for name in {*own, *others} if (name in own) != (name in others)]
        where = {name for names in gathered(moved) for name in names}
        if where:
            raise ValueError(
                f"for batches of another shape the model is cut elsewhere, so {min(where)!r} "
                f"would move to another stage: name the cuts, as by pipeline={{'cut': [...]}}"
            )
        return made

    def _key_noise(self, pipeline: Pipeline) -> None:
        step, seed = self.state.global_step, self.args.seed
        batch = self._batch.next(step)
        pipeline.steps = step
        for stage in pipeline.local.values():
            stage.seed = derive_seed(seed, batch, "smoothing")
            stage.draws.seed = derive_seed(seed, batch, "draws")


@contextmanager
def _own_forward(model: Any) -> Iterator[None]:
    """Take off what Accelerate puts around the forward of a model for mixed precision."""
    wrapped = vars(model).pop("forward", None) if hasattr(model, "_original_forward") else None
    if wrapped is not None and model._original_forward.__func__ is not type(model).forward:
        model.forward = model._original_forward
    try:
        yield
    finally:
        if wrapped is not None:
            model.forward = wrapped


_REFUSED = {
    "fp16": "bf16=True needs no scaling of gradients",
    "torch_compile": "leave it out",
    "activation_checkpointing": "pipeline={'recompute': True} does so",
    "auto_find_batch_size": "choose per_device_train_batch_size",
    "deepspeed": "leave it out",
    "fsdp": "leave it out",
    "parallelism_config": "leave it out",
}


def _check(args: Any) -> None:
    for name, instead in _REFUSED.items():
        if getattr(args, name, None):
            raise ValueError(f"{name} does not go with a pipeline: {instead}")
    if args.n_gpu > 1:
        raise ValueError(
            f"this process sees {args.n_gpu} GPUs, which Trainer would divide batches over: start "
            f"one for each, by torchrun --nproc-per-node {args.n_gpu}"
        )
    optimizer = str(getattr(args.optim, "value", args.optim))
    if "lomo" in optimizer:
        raise ValueError(
            f"optim={optimizer!r} takes its steps while autograd runs, which a pipeline's "
            f"gradients do not come from: take another one"
        )
