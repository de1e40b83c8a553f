"""The part of a network that one process holds, run at perturbed parameters."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pprs.pipeline.draws import Draws, torch_state_hash
from pprs.pipeline.partitioner import Chain, full_names, reused
from pprs.pipeline.recompute import recomputed
from pprs.pipeline.snapshot import untouched
from pprs.pipeline.stage_outputs import OutputSpec, for_loss, for_next
from pprs.smoothing import (
    Noise,
    Perturbation,
    Samples,
    Target,
    at_perturbed,
    checked_seed,
    derive_seed,
    has_run,
    is_first,
    not_a_view,
)


class PerturbedStage(nn.Module):
    r"""Runs a piece of the network at $\theta + \sigma X_k$, every row k with its own $X_k$.

    The noise is keyed by the parameters' names in the whole network, so it does not depend on
    how the network was cut.

    Args:
        chain: consecutive layers of the network.
        perturbation: what is averaged.
        names: of all parameters of the whole network, which the groups of sigma refer to.
        seed: names the run.
        number: of the stage, from 0, whose inputs are the batches.
        first: the number of its first layer in the whole network.
        last: whether it is the last stage, whose output may be of any structure.
        recompute: keep only the inputs for the backward pass, and run again then.
        reused: names of parameters that may be used in other stages, too.

    Attributes:
        draws: seeds what its layers draw themselves; `None` leaves the generators to them.
        shared: the buffers that another stage has, too.
        changed: the buffers that a forward pass changes, once it was tried.
    """

    def __init__(
        self,
        chain: Chain,
        perturbation: Perturbation,
        names: list[str],
        seed: int,
        *,
        number: int = 1,
        first: int = 0,
        last: bool = True,
        recompute: bool = False,
        reused: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.chain = chain
        self.perturbation = perturbation
        self.names = names
        self.seed = seed
        self.number = number
        self.last = last
        self.recompute = recompute
        self._reused = reused
        self.step = 0  # keys the noise; the pipeline counts it
        self._spec: OutputSpec | None = None
        # Whether the layers change their inputs in place, as was seen in each mode.
        self._writes: dict[bool, bool] = {}
        self.draws = Draws(chain, first)
        self.shared: set[str] = set()
        self.changed: list[str] = []
        self._own = full_names(chain)  # looked up once: every microbatch needs them

    def forward(self, *inputs: Tensor, microbatch: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run one microbatch.

        Args:
            inputs: shape `(perturbations, batch, ...)` each, of the first stage with another 1 in
                front.
            microbatch: its index, shape `(1,)`.

        Returns:
            What the layers give, shape `(perturbations, batch, ...)` each.
        """
        if self.number == 0:
            inputs = tuple(x[0].detach() for x in inputs)
        noise = Noise(self.seed, self.step, int(microbatch))
        try:
            if not (self.recompute and torch.is_grad_enabled()):
                return self._run(noise, *inputs)
            # The step may be another one when it runs again: the noise is kept.
            own = list(self.trainable().values())
            again: Tensor | tuple[Tensor, ...] = recomputed(partial(self._run, noise), inputs, own)
            return again
        except Exception as error:
            shapes = ", ".join(str(tuple(x.shape[1:])) for x in inputs)
            where = "".join(f", {note}" for note in getattr(error, "__notes__", []))
            raise RuntimeError(
                f"stage {self.number} failed on inputs of shape {shapes}{where}: {error}"
            ) from error

    def tried(self, *inputs: Tensor, microbatch: Tensor) -> tuple[Tensor, ...]:
        """What `forward` gives; layers and generators are left as they were.

        It finds out for later calls what the layers draw, and whether they change their inputs.
        """
        self.admit()
        with self.draws.watching(), untouched(self.chain) as changed:
            outputs = self.forward(*inputs, microbatch=microbatch)
        self.changed = changed
        return outputs if isinstance(outputs, tuple) else (outputs,)

    def admit(self) -> None:
        """Add parameters that were frozen when the pipeline was built and need a gradient now."""
        self.names += [name for name in self.trainable() if name not in self.names]

    def _run(self, noise: Noise, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        with self.draws.seeded(noise.step, noise.microbatch, inputs[0].device):
            return self.at(noise, *inputs)

    def at(self, noise: Noise, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """What `forward` gives with this noise, of inputs `(perturbations, batch, ...)`."""
        count, batch = next((x.shape[:2] for x in inputs if x.dim() > 1), (len(inputs[0]), 1))
        samples = self.perturbation.samples_of(count, batch)
        sigmas = self.perturbation.sigmas(self.names, noise.step)
        targets = self.perturbation.targets(self.trainable(), sigmas, noise, samples, self._reused)
        repeat = all(x.stride(0) == 0 for x in inputs)  # the first stage's: views of one batch
        arrived = [_sendable(x) for x in inputs]
        mode = self.chain.training
        if self._writes.get(mode, True):
            arrived = [_copied(x) for x in arrived]
        if count == 1 and not targets:
            rows = tuple(row[None] for row in self._layers(*(x[0] for x in arrived)))
        else:
            cycle = samples.cycle if repeat else None
            spread = [samples.spread(x) for x in arrived]
            results = self._perturbed(targets, samples, spread, cycle)
            rows = tuple(samples.gather(_with_rows(row, samples)) for row in results)
        if mode not in self._writes:
            self._writes[mode] = any(x._version for x in arrived)
        outputs = tuple(map(_detachable, rows))
        return outputs if len(outputs) > 1 else outputs[0]

    def _perturbed(
        self, targets: list[Target], samples: Samples, inputs: list[Tensor], cycle: int | None
    ) -> tuple[Tensor, ...]:
        watched = is_first(self.chain, self.chain)
        results: tuple[Tensor, ...] = at_perturbed(
            self._layers, targets, samples, *inputs, cycle=cycle, model=self.chain, watched=watched
        )
        has_run(self.chain, self.chain)
        return results

    def unperturbed(self, *inputs: Tensor) -> Any:
        """What the layers give of a batch: tensors for the next stage, or the network's output."""
        output = self.chain(*inputs)
        return output if self.last else for_next(output, self.chain.layers[-1])

    def _layers(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        output = self.unperturbed(*inputs)
        if self.last:
            output, self._spec = for_loss(output)
        tensors: tuple[Tensor, ...] = output
        return tensors

    def restored(self, tensors: Sequence[Tensor]) -> Any:
        """What the network gives, of the tensors that the last stage made of it."""
        assert self._spec is not None
        return self._spec.filled(tensors)

    def kinds(self) -> list[tuple[bool, torch.dtype]]:
        """Which of its parameters need a gradient, and their types."""
        return [(p.requires_grad, p.dtype) for p in self._own.values()]

    def all_parameters(self) -> dict[str, nn.Parameter]:
        """All parameters, frozen ones too, by their names in the whole network."""
        return dict(self._own)

    def changing(self) -> dict[str, Tensor]:
        """What steps may have changed, by names in the whole network, as it is.

        Parameters that were trainable at any time, and persistent buffers of this stage alone.
        """
        self.admit()
        ever = set(self.names)
        return {n: t for n, t in self.state().items() if n in ever or n not in self._own}

    def state(self) -> dict[str, Tensor]:
        """All parameters, and persistent buffers of this stage alone, as they are."""
        found: dict[str, Tensor] = dict(self._own)
        for index, piece in enumerate(self.chain):
            kept = piece.state_dict(keep_vars=True).keys()
            found |= {
                name: buffer
                for name, buffer in piece.named_buffers()
                if name in kept and f"{index}.{name}" not in self.shared
            }
        return found

    def trainable(self) -> dict[str, nn.Parameter]:
        """This stage's trainable parameters, by their names in the whole network."""
        return {n: p for n, p in self._own.items() if p.requires_grad}


def stages_of(
    whole: Chain,
    pieces: Sequence[range],
    own: Iterable[int],
    perturbation: Perturbation,
    names: list[str],
    seed: int | None,
    *,
    recompute: bool,
) -> dict[int, PerturbedStage]:
    """The stages that a process holds, by their numbers.

    Args:
        whole: the network's chain.
        pieces: of each stage, their numbers in the chain.
        own: numbers of the stages wanted.
        perturbation: what is averaged.
        names: of all trainable parameters of the network.
        seed: of the run; without one the noise has one of the operating system. What layers draw
            also depends on torch's generator as it is now.
        recompute: as for `PerturbedStage`.
    """
    draws = derive_seed(torch_state_hash(), "no seed" if seed is None else seed)
    seed = checked_seed(seed)
    several = reused(whole)
    stages = {}
    for number in own:
        piece, last = pieces[number], number == len(pieces) - 1
        stages[number] = stage = PerturbedStage(
            *(Chain(*(whole[i] for i in piece)), perturbation, names, seed),
            number=number,
            first=piece[0],
            last=last,
            recompute=recompute,
            reused=several,
        )
        stage.draws.seed = draws
        elsewhere = [b for i, layer in enumerate(whole) if i not in piece for b in layer.buffers()]
        other = set(map(id, elsewhere))
        stage.shared = {n for n, b in stage.chain.named_buffers() if id(b) in other}
    return stages


def divide_gradients(stages: Iterable[PerturbedStage], number: int) -> None:
    """Make means of gradients that a number of microbatches have added up.

    Torch's schedules would do so stage by stage: twice, where two of a process share a parameter.
    """
    parameters = {p: None for stage in stages for p in stage.parameters()}
    gradients = [p.grad for p in parameters if p.grad is not None]
    if gradients and number > 1:
        torch._foreach_div_(gradients, number)


def _sendable(x: Tensor) -> Tensor:
    """The same, whose gradient is contiguous: the engine sends no other."""
    if not (x.requires_grad and torch.is_grad_enabled()):
        return x
    x = x.view_as(x)
    x.register_hook(Tensor.contiguous)  # type: ignore[no-untyped-call]
    return x


def _with_rows(x: Tensor, samples: Samples) -> Tensor:
    if samples.examples is not None and (x.dim() < 2 or x.shape[1] != 1):
        raise ValueError(
            f"noise='example' runs one example at a time, but a stage gives a tensor of shape "
            f"{tuple(x.shape[1:])} for one, which has no row for each example: take "
            f"noise='shared'"
        )
    return x


def _copied(x: Tensor) -> Tensor:
    """The same, which may be changed in place; a batch that repeats is still one batch."""
    return x[:1].clone().expand_as(x) if x.stride(0) == 0 else x.clone()


def _detachable(x: Tensor) -> Tensor:
    """The same, contiguous and no view: the engine detaches outputs in place."""
    return not_a_view(x.contiguous(), *x.shape)
