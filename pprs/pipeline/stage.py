"""The part of a network that one process holds, run at perturbed parameters."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from pprs.pipeline.cutting import Chain, full_names
from pprs.pipeline.draws import Draws, every, kept
from pprs.pipeline.recompute import recomputed
from pprs.pipeline.untouched import untouched
from pprs.smoothing import Law, Noise, at_perturbed, has_run, is_first, owned


class PerturbedStage(nn.Module):
    r"""Runs a piece of the network at $\theta + \sigma X_k$, every row k with its own $X_k$.

    The noise is keyed by the parameters' names in the whole network, so it does not depend on
    how the network was cut.

    Args:
        chain: consecutive layers of the network.
        law: of the perturbations.
        names: of all parameters of the whole network, which the law's groups refer to.
        seed: names the run.
        number: of the stage, from 0, whose inputs are the batches.
        first: the number of its first layer in the whole network.
        recompute: keep only the inputs for the backward pass, and run again then.

    Attributes:
        draws: seeds what its layers draw themselves; ``None`` leaves the generators to them.
        changed: the buffers that a forward pass changes, once it was tried.
    """

    def __init__(
        self,
        chain: Chain,
        law: Law,
        names: list[str],
        seed: int,
        *,
        number: int = 1,
        first: int = 0,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.chain = chain
        self.law = law
        self.names = names
        self.seed = seed
        self.number = number
        self.recompute = recompute
        self.step = 0  # keys the noise; the pipeline counts it
        self.draws = Draws(chain, first)
        self.changed: list[str] = []
        self._own = full_names(chain)  # looked up once: every microbatch needs them
        self._copies = False  # of its inputs, for layers that change them in place

    def forward(self, *inputs: Tensor, microbatch: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run one microbatch.

        Args:
            inputs: shape ``(perturbations, batch, ...)`` each, of the first stage with another 1 in
                front.
            microbatch: its index, shape ``(1,)``.

        Returns:
            What the layers give, shape ``(perturbations, batch, ...)`` each.
        """
        if self.number == 0:
            inputs = tuple(x[0].detach() for x in inputs)
        noise = Noise(self.seed, self.step, int(microbatch))
        try:
            if not (self.recompute and torch.is_grad_enabled()):
                return self._run(noise, *inputs)
            # The step may be another one when it runs again: the noise is kept.
            held = list(self.trainable().values())
            again: Tensor | tuple[Tensor, ...] = recomputed(partial(self._run, noise), inputs, held)
            return again
        except Exception as error:
            shapes = ", ".join(str(tuple(x.shape[1:])) for x in inputs)
            raise RuntimeError(
                f"stage {self.number} failed on inputs of shape {shapes}: {error}"
            ) from error

    def tried(self, *inputs: Tensor, microbatch: Tensor) -> tuple[Tensor, ...]:
        """What :meth:`forward` gives, without a trace in the layers and the generators.

        It finds out for later calls what the layers draw, and whether they change their inputs.
        """
        self._copies = True
        self._admit()
        device = inputs[0].device
        with kept(every(), device), self.draws.watching(device), untouched(self.chain) as changed:
            outputs = self.forward(*inputs, microbatch=microbatch)
        self.changed = changed
        return outputs if isinstance(outputs, tuple) else (outputs,)

    def _admit(self) -> None:
        """Parameters that were frozen when the pipeline was built may need a gradient now."""
        self.names += [name for name in self.trainable() if name not in self.names]

    def _run(self, noise: Noise, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        if not self._copies:
            return self._at(noise, *inputs)
        inputs = tuple(x.clone() for x in inputs)
        versions = [x._version for x in inputs]
        outputs = self._at(noise, *inputs)
        self._copies = versions != [x._version for x in inputs]
        return outputs

    def _at(self, noise: Noise, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        with self.draws.seeded(noise.step, noise.microbatch, inputs[0].device):
            return self._drawn(noise, *inputs)

    def _drawn(self, noise: Noise, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        samples, batch = inputs[0].shape[:2]
        lanes = self.law.lanes(noise, samples, batch)
        sigmas = self.law.sigmas(self.names, noise.step)
        targets = self.law.targets(self.trainable(), sigmas, lanes)
        if samples == 1 and not targets:
            plain = self.chain(*(x[0] for x in inputs))
            if isinstance(plain, tuple):
                return tuple(_detachable(x[None]) for x in plain)
            return _detachable(plain[None])
        repeat = all(x.stride(0) == 0 for x in inputs)  # the first stage's: views of one batch
        cycle = self.law.cycle(lanes, samples) if repeat else None
        spread = [self.law.spread(_sendable(x)) for x in inputs]
        watched = is_first(self.chain, self.chain)
        rows = at_perturbed(
            self.chain,
            targets,
            lanes,
            *spread,
            cycle=cycle,
            model=self.chain,
            watched=watched,
        )
        has_run(self.chain, self.chain)
        if isinstance(rows, tuple):
            return tuple(_detachable(self.law.gather(row, samples)) for row in rows)
        return _detachable(self.law.gather(rows, samples))

    def kinds(self) -> list[tuple[bool, torch.dtype]]:
        """Which of its parameters need a gradient, and their types."""
        return [(p.requires_grad, p.dtype) for p in self._own.values()]

    def trainable(self) -> dict[str, nn.Parameter]:
        """This stage's trainable parameters, by their names in the whole network."""
        return {n: p for n, p in self._own.items() if p.requires_grad}


def _sendable(x: Tensor) -> Tensor:
    """The same, whose gradient is contiguous: the engine sends no other."""
    if not (x.requires_grad and torch.is_grad_enabled()):
        return x
    x = x.view_as(x)
    x.register_hook(Tensor.contiguous)  # type: ignore[no-untyped-call]
    return x


def _detachable(x: Tensor) -> Tensor:
    """The same, contiguous and no view: the engine detaches outputs in place."""
    return owned(x.contiguous(), *x.shape)
