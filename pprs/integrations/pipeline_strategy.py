"""Lightning's loop over the stages of a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch.distributed as dist
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor, nn
from torch.optim import Optimizer

from pprs.integrations.batch_number import BatchNumber
from pprs.integrations.pipelines import Pipelines, arguments, join
from pprs.pipeline import device
from pprs.pipeline.communication import broadcast
from pprs.smoothing import Perturbation

T = TypeVar("T")


class PipelineStrategy(SingleDeviceStrategy):
    """Lightning's strategy for a network that is cut into stages, one a process.

    Each process that torchrun starts trains some layers of the network, on the same batches: what
    Lightning does with the module, its optimizer and its files is what it does in one process.
    `loss` takes the place of the network's call and loss in `training_step`. Every process keeps
    all parameters; gradients, activations and the optimizer's state are those of its own layers.
    They are exchanged before validation, before a checkpoint and at the end.

    Args:
        perturbation: what is averaged; by default nothing is perturbed, and the examples of a
            batch are divided into microbatches.
        seed: keys the noise, and what layers draw.
        pipeline: other arguments of `pprs.pipeline.Pipeline`, such as `microbatches=4`.
    """

    def __init__(
        self, perturbation: Perturbation | None = None, *, seed: int = 0, **pipeline: Any
    ) -> None:
        super().__init__(device())
        self._how = {"seed": seed, "device": device()} | arguments(perturbation, pipeline)
        self._batch = BatchNumber()
        self._pipelines: Pipelines | None = None

    def loss(
        self,
        network: nn.Module,
        loss: Callable[[Any, Tensor], Tensor],
        x: Tensor | tuple[Tensor, ...] | Mapping[str, Any],
        y: Tensor,
    ) -> Tensor:
        """The loss of a batch, for `training_step` to return; a collective call.

        Args:
            network: the module's, with all of its trainable parameters; the same in every step.
            loss: of the network's outputs and the targets, the same in every step.
            x: what the network takes: a tensor, a tuple of them, or keyword arguments.
            y: the targets, shape `(m, ...)`.

        Returns:
            The mean loss, a scalar that `backward()` can be called on, the same in all processes.

        Raises:
            ValueError: for a second network, parameters outside of it, or 16-bit precision that
                scales gradients.
        """
        if self._pipelines is None:
            self._check(network)
            self._pipelines = Pipelines(network, loss, **self._how)
        elif self._pipelines.model is not network:
            raise ValueError("a pipeline inside Lightning trains one network, but got a second one")
        assert self.lightning_module is not None
        step = self.lightning_module.global_step
        example = (x,) if isinstance(x, Tensor) else x
        at = {"step": step, "batch": self._batch.next(step)}
        return self._pipelines.loss(example, y, self.optimizers, **at)

    def setup_environment(self) -> None:
        """Join the other processes."""
        join()
        self.global_rank = dist.get_rank()
        rank_zero_only.rank = self.global_rank  # type: ignore[attr-defined]
        super().setup_environment()

    def setup(self, trainer: Any) -> None:
        """Begin with the network as it is."""
        self._pipelines = None
        super().setup(trainer)
        # What Lightning calls to clip: the norm is that over all stages.
        self.precision_plugin.clip_grad_by_norm = self._clip  # type: ignore[method-assign]

    @property
    def is_global_zero(self) -> bool:
        """Whether this process writes files."""
        return self.global_rank == 0

    def barrier(self, *_: Any, **__: Any) -> None:
        """Wait for the other processes."""
        dist.barrier()

    def broadcast(self, obj: T, src: int = 0) -> T:
        """What one process has, in all."""
        found: T = broadcast(obj, src)
        return found

    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:
        """What the first process decides, for all."""
        return self.broadcast(decision)

    def validation_step(self, *given: Any, **options: Any) -> Any:
        """As the module's, with all that was learned."""
        self._share()
        return super().validation_step(*given, **options)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The whole module."""
        self._share()
        return super().lightning_module_state_dict()

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """That of all parameters, in the first process."""
        if self._pipelines is None:
            return super().optimizer_state(optimizer)
        return self._pipelines.whole_state(optimizer) or {}

    def on_train_end(self) -> None:
        """Leave the whole module trained in every process."""
        self._share()
        super().on_train_end()

    def _share(self) -> None:
        if self._pipelines is not None:
            self._pipelines.share()

    def _clip(self, optimizer: Optimizer, clip_val: float) -> None:
        assert self._pipelines is not None
        self._pipelines.clip(clip_val)

    def _check(self, network: nn.Module) -> None:
        assert self.lightning_module is not None
        if getattr(self.precision_plugin, "scaler", None) is not None:
            raise ValueError(
                'precision="16-mixed" scales gradients, which a pipeline does not: '
                'take precision="bf16-mixed"'
            )
        inside = set(network.parameters())
        for name, parameter in self.lightning_module.named_parameters():
            if parameter.requires_grad and parameter not in inside:
                raise ValueError(
                    f"{name} is a parameter outside of the network that the pipeline trains, so "
                    f"it would get no gradient: put it into the network, or freeze it"
                )
