"""The pipelines of one model that is inside the loop of another package."""

from __future__ import annotations

import math
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import HashStore  # type: ignore[attr-defined]
from torch.nn.utils import clip_grads_with_norm_
from torch.optim import Optimizer

from pprs.integrations.pipeline_loss import pipeline_loss
from pprs.integrations.whole_model import keep_own, share, whole_state
from pprs.pipeline import Pipeline, check_same, device, joined
from pprs.pipeline.communication import gathered
from pprs.smoothing import Perturbation, derive_seed

_SHAPES = 8  # of batches, whose traces are kept


def arguments(perturbation: Perturbation | None, pipeline: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of pipelines; without a perturbation microbatches divide the examples."""
    split = {"split": "examples"} if perturbation is None else {"perturbation": perturbation}
    return split | dict(pipeline)


def join() -> None:
    """Be one of the processes that torchrun has started, or the only one."""
    if dist.is_initialized():
        return
    if joined():
        dist.init_process_group("nccl" if device().type == "cuda" else "gloo")
    else:
        dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)


class Pipelines:
    """One for each shape of a batch, for which the model is traced anew; they share parameters.

    Every process holds the whole model. After a step, what other processes' stages train is NaN in
    it, so that nobody takes old values for new ones, until all is shared.

    Args:
        model: to be cut.
        loss: of its outputs and the targets.
        options: of each `Pipeline`.
    """

    def __init__(
        self, model: nn.Module, loss: Callable[[Any, Tensor], Tensor], **options: Any
    ) -> None:
        self.model = model
        self._loss, self._options = loss, options
        self._kept: OrderedDict[object, Pipeline] = OrderedDict()  # the last is the last used
        self._names: list[list[str]] = []  # of the parameters that each process trains
        self._apart = False  # whether processes may hold different values

    @property
    def last(self) -> Pipeline:
        """The one that has run last."""
        return next(reversed(self._kept.values()))

    def loss(
        self,
        example: Mapping[str, Any] | tuple[Tensor, ...],
        y: Tensor,
        optimizers: Iterable[Optimizer],
        *,
        step: int,
        batch: int,
    ) -> Tensor:
        """The loss of a batch in all processes, which has a `backward()`; a collective call.

        Args:
            example: what the model takes: tensors, or a mapping of keyword arguments.
            y: the targets.
            optimizers: of the model, which need the state of parameters that are here only.
            step: that of the optimizer, which keys the noise,
            batch: with the number of the batch in it.
        """
        pipeline = self._of(example, optimizers)
        seed = self._options["seed"]
        pipeline.steps = step
        for stage in pipeline.local.values():
            stage.seed = derive_seed(seed, batch, "smoothing")
            stage.draws.seed = derive_seed(seed, batch, "draws")
        values = example.values() if isinstance(example, Mapping) else example
        found = pipeline_loss(pipeline, tuple(x for x in values if isinstance(x, Tensor)), y)
        self._forget_others(pipeline)
        return found

    def changed(self) -> None:
        """Something else than a step has changed the parameters of each process's stages."""
        self._apart = bool(self._kept)

    def share(self) -> None:
        """Let the model hold what all stages hold; a collective call if steps were taken since."""
        if self._apart:
            share(self.last, self.model)
        self._apart = False

    def norm(self) -> Tensor:
        """That of the gradient by all parameters; a collective call."""
        return torch.tensor(self.last.clip_grad_norm_(math.inf), dtype=torch.float64)

    def clip(self, largest: float) -> Tensor:
        """Scale the gradients down as torch's `clip_grad_norm_` does; their norm before."""
        norm = self.norm()
        clip_grads_with_norm_(self.last.named_parameters().values(), largest, norm)
        return norm

    def whole_state(self, optimizer: Optimizer) -> dict[str, Any] | None:
        """The state of an optimizer for all parameters, in the first process; collective."""
        return whole_state(optimizer, self.last) if self._kept else optimizer.state_dict()

    def _of(
        self, example: Mapping[str, Any] | tuple[Tensor, ...], optimizers: Iterable[Optimizer]
    ) -> Pipeline:
        named = example if isinstance(example, Mapping) else dict(enumerate(example))
        key = tuple(
            (name, (x.shape[1:], x.dtype) if isinstance(x, Tensor) else repr(x))
            for name, x in named.items()
        )
        if key not in self._kept:
            self.share()  # the model is traced, and compared, as it is now
            with torch.autocast(torch.device(self._options["device"]).type, enabled=False):
                self._kept[key] = self._traced(example)
            for optimizer in optimizers:
                _check_alike(optimizer)
                keep_own(optimizer, self._kept[key])
            self._bound()
        self._kept.move_to_end(key)
        return self._kept[key]

    def _bound(self) -> None:
        if len(self._kept) > _SHAPES:
            self._kept.popitem(last=False)
            warnings.warn(
                f"the model is traced anew for batches of more than {_SHAPES} shapes, which takes "
                f"the time of several steps for each: pad them to few lengths (Hugging Face's data "
                f"collators: pad_to_multiple_of=64)",
                stacklevel=2,
            )

    def _traced(self, example: Mapping[str, Any] | tuple[Tensor, ...]) -> Pipeline:
        given: Any = (example,) if isinstance(example, Mapping) else example
        made = Pipeline(self.model, self._loss, example=given, **self._options)
        names = gathered(list(made.named_parameters()))
        pairs = zip(names, self._names or names, strict=True)
        moved = {name for now, before in pairs for name in {*now} ^ {*before}}
        if moved:
            raise ValueError(
                f"for batches of another shape the model is cut elsewhere, so {min(moved)!r} "
                f"would move to another stage: name the cuts, cut=[...]"
            )
        self._names = names
        return made

    @torch.no_grad()
    def _forget_others(self, pipeline: Pipeline) -> None:
        if not self._apart:
            own, named = pipeline.named_parameters(), dict(self.model.named_parameters())
            for name in {name for names in self._names for name in names} - own.keys():
                named[name].fill_(math.nan)
        self._apart = True


def _check_alike(optimizer: Optimizer) -> None:
    """Raise `ValueError` on all ranks unless each has an optimizer of the same settings."""
    groups = [
        {name: v for name, v in group.items() if isinstance(v, int | float | str | tuple)}
        for group in optimizer.param_groups
    ]
    settings = {f"{type(optimizer).__name__}'s groups": groups}
    check_same(settings, None, "the optimizer must be the same on all ranks")
