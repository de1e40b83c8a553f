"""A pipeline inside a trainer that takes its loss from `compute_loss`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pprs.integrations.batch_number import BatchNumber
from pprs.integrations.one_process import act_as_one_process, own_forward
from pprs.integrations.outputs_loss import OutputsLoss
from pprs.integrations.pipelines import Pipelines, arguments, join
from pprs.pipeline.communication import broadcast
from pprs.smoothing import Perturbation


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
        *given: Any,
        perturbation: Perturbation | None = None,
        pipeline: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self._how = arguments(perturbation, pipeline or {})
        self._batch = BatchNumber()
        self._loss: OutputsLoss | None = None
        self._pipelines: Pipelines | None = None
        super().__init__(*given, **options)

    def create_accelerator_and_postprocess(self) -> None:
        """As the trainer's, for a process by itself."""
        _check(self.args)
        join()
        act_as_one_process()
        own: Any = super()
        own.create_accelerator_and_postprocess()

    def _get_dataloader(self, *given: Any, **options: Any) -> Any:
        act_as_one_process()
        own: Any = super()
        return own._get_dataloader(*given, **options)

    def train(self, *given: Any, **options: Any) -> Any:
        """As the trainer's, on all ranks."""
        self._pipelines = self._loss = None
        own: Any = super()
        return own.train(*given, **options)

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
            items = {"num_items_in_batch": num_items_in_batch}
            return own.compute_loss(model, inputs, return_outputs=return_outputs, **items)
        if return_outputs:
            raise ValueError(
                "compute_loss was asked for the outputs of a training step, which only the last "
                "stage has: evaluate under torch.no_grad()"
            )
        label = self._label(inputs)
        if self._loss is None or self._pipelines is None:
            how = self._how.get("split"), getattr(self._how.get("perturbation"), "noise", None)
            self._loss = OutputsLoss(
                own.compute_loss, model, inputs, label, self._counted, divided="example" in str(how)
            )
            settings = {"seed": self.args.seed, "device": self.args.device}
            self._pipelines = Pipelines(model, self._loss, **settings | self._how)
        inputs = dict(inputs)
        labels = inputs.pop(label)
        self._loss.of_batch(labels, num_items_in_batch)
        step = self.state.global_step
        at = {"step": step, "batch": self._batch.next(step)}
        with own_forward(model), self.accelerator.autocast():
            return self._pipelines.loss(inputs, labels, [self.optimizer.optimizer], **at)

    def evaluation_loop(self, *given: Any, **options: Any) -> Any:
        """As the trainer's, in every process with all that was learned; a collective call."""
        own: Any = super()
        if callable(getattr(getattr(self.optimizer, "optimizer", None), "eval", None)):
            self.optimizer.eval()  # changes the parameters
            if self._pipelines is not None:
                self._pipelines.changed()
        self._share()
        found = own.evaluation_loop(*given, **options)
        # All decide alike on what the first has measured.
        return found._replace(metrics=broadcast(found.metrics, 0))

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As the trainer's: the whole model, by the first process."""
        self._share()
        own: Any = super()
        own.save_model(output_dir, _internal_call)
        if _internal_call:
            dist.barrier()  # all look for it next

    def _save_checkpoint(self, *given: Any, **options: Any) -> None:
        own: Any = super()
        own._save_checkpoint(*given, **options)
        dist.barrier()

    def _save_rng_state(self, output_dir: str) -> None:
        own: Any = super()
        if self.args.should_save:  # it is the same in all
            own._save_rng_state(output_dir)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        own: Any = super()
        own._save_optimizer_and_scheduler(output_dir)
        whole = self._pipelines and self._pipelines.whole_state(self.optimizer.optimizer)
        if self.args.should_save and whole is not None:
            torch.save(whole, Path(output_dir, "optimizer.pt"))

    def _finalize_training(self, *given: Any, **options: Any) -> Any:
        self._share()
        own: Any = super()
        return own._finalize_training(*given, **options)

    def _clip_grad_norm(self, _: nn.Module) -> Tensor:
        assert self._pipelines is not None
        return self._pipelines.clip(self.args.max_grad_norm)

    def _get_grad_norm(self, _: nn.Module, grad_norm: Tensor | None = None) -> Tensor:
        assert self._pipelines is not None
        return self._pipelines.norm() if grad_norm is None else grad_norm

    def _share(self) -> None:
        if self._pipelines is not None:
            self._pipelines.share()

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
