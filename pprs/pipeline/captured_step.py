"""A step of one stage in one process, recorded once and run again without its Python."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn

from pprs.pipeline.candidates import Candidates
from pprs.pipeline.engine import Engine
from pprs.pipeline.labels import are_labels
from pprs.pipeline.microbatches import Microbatches
from pprs.smoothing import Noise, Recordings, outside


class CapturedStep(Recordings):
    """Takes the gradients of an engine that runs a whole network as one microbatch.

    Steps of several microbatches are left to the engine, but for those at several centres, which
    run one after the other. What is recorded is the engine's own pass, and only if that gives the
    same bits: a run that is gone on with does not depend on which of its steps were recorded.

    Args:
        engine: of one stage in one process.
        alone: whether it runs forward once, and nobody notes what when.

    Raises:
        ValueError: if it is of more.

    Attributes:
        tell: is given why steps are not recorded any more, once.
    """

    _instead = "leave capture out"

    def __init__(self, engine: Engine, *, alone: bool) -> None:
        processes = dist.get_world_size(engine.everyone)
        if not (alone and engine.stages == processes == 1):
            raise ValueError(
                f"capture records a step of one stage in one process, without recompute and "
                f"record: got {engine.stages} stages in {processes} processes"
                f"{'' if alone else ', and one of these settings'}"
            )
        (self._stage,) = engine.local.values()
        super().__init__(engine.loss, self._stage.chain, engine.perturbation, exact=True)
        self._engine = engine
        self._work: tuple[Microbatches, object]
        self.tell: Callable[[str], object] = _warn
        self._beside: Hashable | None = ()

    def of_loss(self, loss: Callable[..., Any], beside: Hashable | None) -> None:
        """Say that the engine's loss is a function around another.

        Args:
            loss: the other, which is looked at.
            beside: what else the next step depends on; `None`: it is not to be recorded.
        """
        self._closure, self._beside = loss, beside

    def run(
        self,
        divided: Microbatches,
        number: int,
        inputs: tuple[Tensor, ...],
        y: Tensor,
        agreed: object,
        candidates: Candidates | None = None,
    ) -> Tensor | None:
        """What `Engine.run` does."""
        if self.uncaptured is None:
            self._check_kind(y)
        several = number != divided.candidates  # microbatches, for each candidate
        if several or self._beside is None or self.uncaptured is not None:
            return self._engine.run(divided, number, inputs, y, agreed, None, candidates)
        # Of each candidate one microbatch, which is a step by itself.
        each = divided.perturbation.among(divided.candidates)
        self._work = replace(divided, perturbation=each, candidates=1, number=1), agreed

        def step() -> Tensor:
            return self._take((*inputs, y))[None]

        return step() if candidates is None else candidates.in_turn(step)

    def _check_kind(self, y: Tensor) -> None:
        if self._engine.device.type != "cpu":
            self._give_up(f"the stage is on {self._engine.device}, and not on a CPU")
        elif self._perturbation.noise == "example" and are_labels(y):
            self._give_up("with noise='example' the labels of each batch are looked at")

    def _noise(self) -> Noise:
        return Noise(self._stage.seed, self._stage.step)

    def _parameters(self) -> dict[str, nn.Parameter]:
        return self._stage.trainable()

    def _plain(self, batch: tuple[Tensor, ...]) -> Tensor:
        divided, agreed = self._work
        losses = self._engine.run(divided, 1, batch[:-1], batch[-1], agreed)
        assert losses is not None
        return losses[0]

    def _losses(
        self, parameters: Mapping[str, nn.Parameter], noise: Noise, batch: tuple[Tensor, ...]
    ) -> Tensor:
        laid_out = [self._work[0].laid_out(x, 1, 0) for x in batch]
        outputs = self._stage.at(noise, *(x[0] for x in laid_out[:-1]))
        return self._engine.mean_loss(outputs, laid_out[-1])[None]

    def _check(self, losses: Tensor) -> None:
        """The pipeline does."""

    def _met(self, batch: tuple[Tensor, ...]) -> dict[str, Hashable]:
        return {
            **super()._met(batch),
            "numbers in the loss": (self._beside, self._work[0].perturbation.samples),
        }

    def _give_up(self, why: str) -> None:
        super()._give_up(why)
        self.tell(f"steps are not recorded, which is slower but changes nothing else: {why}")


def _warn(said: str) -> None:
    warnings.warn(said, stacklevel=outside())
