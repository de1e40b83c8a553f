"""Hugging Face's Accelerate over the stages of a pipeline."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from accelerate import Accelerator  # type: ignore[import-untyped]
from accelerate.state import PartialState  # type: ignore[import-untyped]
from torch import Tensor, nn

from pprs.integrations.one_process import act_as_one_process, own_forward
from pprs.integrations.pipelines import Pipelines, arguments, join
from pprs.pipeline.communication import broadcast
from pprs.smoothing import Perturbation

_REFUSED = ("deepspeed_plugin", "deepspeed_plugins", "fsdp_plugin", "megatron_lm_plugin",
            "parallelism_config", "dynamo_backend", "dynamo_plugin")  # fmt: skip
_BATCHES = "pprs_batches.txt"  # in a checkpoint: how many batches were trained on


class PipelinedAccelerator(Accelerator):  # type: ignore[misc]
    """An `accelerate.Accelerator` whose model is cut into stages, one a process.

    Each process that torchrun starts trains some layers of the model, on the same batches: what
    Accelerate does with the model, its optimizer and its files is what it does in one process.
    `loss` takes the place of the model's call and its loss in the training loop. Every process
    keeps all parameters; gradients, activations and the optimizer's state are those of its own
    layers. What all have learned comes together when the model is called, or its state is asked
    for, after a step: this has to happen in all processes.

    Args:
        perturbation: what is averaged; by default nothing is perturbed, and the examples of a
            batch are divided into microbatches.
        seed: keys the noise, and what layers draw.
        pipeline: other arguments of `pprs.pipeline.Pipeline`, such as `{"microbatches": 4}`.
        All other arguments are those of `Accelerator`.

    Raises:
        ValueError: for what cannot be trained so, or arguments out of range.

    Example:
        In a script that `torchrun --nproc-per-node 2` starts, with
        `accelerator = PipelinedAccelerator()` and a prepared model:
        `accelerator.backward(accelerator.loss(model, cross_entropy, x, y))`
    """

    def __init__(
        self,
        *given: Any,
        perturbation: Perturbation | None = None,
        seed: int = 0,
        pipeline: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        for name in _REFUSED:
            if options.get(name) is not None:
                raise ValueError(f"{name} does not go with a pipeline: leave it out")
        self._how = {"seed": seed} | arguments(perturbation, pipeline or {})
        self._pipelines: Pipelines | None = None
        self._batches = 0
        self._hook: Any = None
        join()
        PartialState(bool(options.get("cpu")))
        act_as_one_process()
        super().__init__(*given, **options)
        act_as_one_process()
        if self.scaler is not None:
            raise ValueError(
                'mixed_precision="fp16" scales gradients, which a pipeline does not: take "bf16"'
            )
        self.register_load_state_pre_hook(self._read)

    def loss(
        self,
        model: nn.Module,
        loss: Callable[[Any, Tensor], Tensor],
        x: Tensor | tuple[Tensor, ...] | Mapping[str, Any],
        y: Tensor,
    ) -> Tensor:
        """The loss of a batch, for `backward` to be called on; a collective call.

        Args:
            model: what `prepare` has returned; the same in every step.
            loss: of the model's outputs and the targets, the same in every step.
            x: what the model takes: a tensor, a tuple of them, or keyword arguments.
            y: the targets, shape `(m, ...)`.

        Returns:
            The mean loss, a scalar, the same in all processes.

        Raises:
            ValueError: for a second model, or one that `prepare` has not had.
        """
        if not any(model is known for known in self._models):
            raise ValueError("the model must be what accelerator.prepare has returned")
        if self._pipelines is None:
            self._pipelines = Pipelines(model, loss, device=self.device, **self._how)
        elif self._pipelines.model is not model:
            raise ValueError("a pipeline trains one model, but got a second one")
        if self._hook is not None:
            self._hook.remove()
        optimizers = [prepared.optimizer for prepared in self._optimizers]
        example = (x,) if isinstance(x, Tensor) else x
        with own_forward(model), self.autocast():
            found = self._pipelines.loss(example, y, optimizers, step=self._batches, batch=0)
        self._batches += 1
        self._hook = model.register_forward_pre_hook(lambda *_: self._share())
        return found

    def clip_grad_norm_(self, parameters: Any, max_norm: float, norm_type: float = 2) -> Tensor:
        """Scale the model's gradients down to a norm over all stages; the norm before."""
        if norm_type != 2 or self._pipelines is None:
            raise ValueError(
                f"gradients of a pipeline are clipped after a loss, by norm_type=2, got {norm_type}"
            )
        return self._pipelines.clip(max_norm)

    def wait_for_everyone(self) -> None:
        """As Accelerate's; then the model holds what all have learned."""
        dist.barrier()
        self._share()

    def unwrap_model(self, *given: Any, **options: Any) -> Any:
        """As Accelerate's, with what all have learned; a collective call."""
        self._share()
        return super().unwrap_model(*given, **options)

    def get_state_dict(self, *given: Any, **options: Any) -> Any:
        """As Accelerate's, of the whole model; a collective call."""
        self._share()
        return super().get_state_dict(*given, **options)

    def save_state(self, *given: Any, **options: Any) -> Any:
        """As Accelerate's: the whole model and its optimizer, by the first process."""
        folder = super().save_state(*given, **options)
        for number, prepared in enumerate(self._optimizers):
            optimizer = prepared.optimizer
            whole = self._pipelines and self._pipelines.whole_state(optimizer)
            if whole is not None:
                name = f"optimizer_{number}.bin" if number else "optimizer.bin"
                self.save(whole, Path(folder, name))
        if self.is_main_process:
            Path(folder, _BATCHES).write_text(f"{self._batches}\n")
        dist.barrier()
        return folder

    def load_state(self, *given: Any, **options: Any) -> None:
        """As Accelerate's, of a run of any number of processes; a collective call."""
        super().load_state(*given, **options)
        self._pipelines = None
        # Random numbers of the first process, where others have saved none: all read one order.
        torch.set_rng_state(broadcast(torch.get_rng_state(), 0))
        random.setstate(broadcast(random.getstate(), 0))
        np.random.set_state(broadcast(np.random.get_state(), 0))

    def _read(self, _: Any, folder: str) -> None:
        file = Path(folder, _BATCHES)
        self._batches = int(file.read_text()) if file.exists() else 0

    def _share(self) -> None:
        if self._pipelines is not None:
            self._pipelines.share()
