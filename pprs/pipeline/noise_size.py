"""Whether sigma suits the loss of a pipeline: now and then a batch runs without noise, too."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack

import torch
from torch import Tensor

from pprs.pipeline.engine import Engine
from pprs.pipeline.forward_pass import forward_pass
from pprs.pipeline.microbatches import Microbatches
from pprs.pipeline.snapshot import Snapshot, untouched
from pprs.smoothing import SizeCheck, warn_of_size

Tensors = tuple[Tensor, ...]


class NoiseSize:
    """Compares losses with and without noise in the steps 1, 2, 4, 8, ... of a copy.

    Generators, layers and gradients stay as they were.

    Args:
        engine: of the copy.

    Attributes:
        tell: is given what is wrong with sigma, once, on the last stage.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine, self._check = engine, SizeCheck()
        self.tell: Callable[[str], object] = warn_of_size

    def compare(
        self,
        divided: Microbatches,
        inputs: Tensors,
        y: Tensor,
        losses: Tensor | None,
        step: int,
    ) -> None:
        """Run without noise the batch that has just run; a collective call of the copy.

        Args:
            divided: how the work was.
            inputs: of the whole batch.
            y: the targets.
            losses: of this copy's microbatches; or, of several candidates, their means.
            step: that the noise was of.
        """
        stages, given = self._engine.local.values(), self._engine.perturbation
        sigmas = given.sigmas(next(iter(stages)).names, step).values()
        if not any(sigmas) or not self._check.due():
            return
        # Microbatches of examples differ by these: the first one is compared.
        first = divided.split == "examples"
        size = len(inputs[0])
        plain = self._plain(inputs, y, size // divided.chosen(size) if first else size)
        if plain is None or losses is None:
            return
        several = divided.candidates > 1
        found = losses[:1] if first else losses.min()[None] if several else losses
        said = self._check.compared(plain, found.tolist(), given, sigmas, mean=several)
        if said is not None:
            self.tell(said)

    def _plain(self, inputs: Tensors, y: Tensor, size: int) -> float | None:
        """The loss of the first examples; `None` but on the last stage, or where it fails."""
        engine = self._engine
        with torch.no_grad(), ExitStack() as stack:
            for stage in engine.local.values():
                stack.enter_context(untouched(stage.chain))
            run = {number: stage.unperturbed for number, stage in engine.local.items()}
            rows = tuple(x[:size] for x in inputs)
            outputs = forward_pass(run, engine.owners, rows, engine.device, engine.group)
            if engine.stages - 1 not in engine.local:
                return None
            stack.callback(Snapshot([], engine.loss).restore)
            try:
                loss = float(engine.sample_loss(outputs, y[:size].to(engine.device)))
            except Exception:  # no other process waits for it, and the step has had its own
                return None
        return loss if math.isfinite(loss) else None
