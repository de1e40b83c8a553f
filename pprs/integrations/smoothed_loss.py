"""The smoothed loss in a trainer that takes its loss from `compute_loss`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pprs.integrations.batch_number import BatchNumber
from pprs.smoothing import Perturbation, Sigma, Unused, check_unused, derive_seed, smooth


class SmoothedLoss:
    """What to put before Hugging Face's `Trainer`, or another class made from it.

    The loss of a training step is the smoothed loss of the batch, by `pprs.smooth`. All else is
    the trainer's: optimizer, accumulated batches, clipping, precision, checkpoints. Evaluation is
    at the unperturbed parameters. The noise is keyed by the trainer's seed, the step and the number
    of the batch in it, so that a resumed run goes on as if it had never stopped.

    Args:
        perturbation: what is averaged; or sigma. By default 8 perturbations, 0.01 of the norm of
            each filter.
        unused: whether trainable parameters may be left unused, see `pprs.smooth`.

    Raises:
        ValueError: for several processes or GPUs, a compiled model, or arguments out of range.
    """

    args: Any
    state: Any

    def __init__(
        self,
        *arguments: Any,
        perturbation: Perturbation | Sigma | None = None,
        unused: Unused = "error",
        **options: Any,
    ) -> None:
        check_unused(unused)
        self._unused = unused
        self._perturbation = Perturbation.filter(0.01) if perturbation is None else perturbation
        self._batch = BatchNumber()
        super().__init__(*arguments, **options)
        _check_one_process(self.args)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The smoothed loss of a batch while gradients are recorded; else as the trainer's."""
        own: Any = super()
        items = {"num_items_in_batch": num_items_in_batch}
        if not torch.is_grad_enabled():
            return own.compute_loss(model, inputs, return_outputs=return_outputs, **items)
        if return_outputs:
            raise ValueError(
                "compute_loss was asked for the outputs of a training step, of which there is one "
                "for each perturbation: evaluate under torch.no_grad()"
            )

        def loss() -> Tensor:
            found: Tensor = own.compute_loss(model, dict(inputs), **items)  # it may take some out
            return found

        step = self.state.global_step
        seed = derive_seed(self.args.seed, self._batch.next(step), "smoothing")
        return smooth(loss, model, self._perturbation, seed=seed, step=step, unused=self._unused)


def _check_one_process(args: Any) -> None:
    if args.world_size > 1 or args.n_gpu > 1:
        raise ValueError(
            f"the smoothed loss runs in one process on one device, but the trainer has "
            f"{args.world_size} processes and {args.n_gpu} GPUs: start it alone, with one device "
            f"in CUDA_VISIBLE_DEVICES; for several processes there is pprs.pipeline"
        )
    if args.torch_compile:
        raise ValueError(
            "torch_compile=True hides the functions that receive parameters, which smoothing must "
            "see: leave it out"
        )
    for name in ("gradient_checkpointing", "activation_checkpointing"):
        if getattr(args, name, False):
            raise ValueError(
                f"{name}=True would run layers again at unperturbed parameters: leave it out, or "
                f"take PipelinedTrainer with pipeline={{'recompute': True}}"
            )
