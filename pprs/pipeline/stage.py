"""The part of a network that one process holds, run at perturbed parameters."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn

from pprs.smoothing import Law, Noise, at_perturbed


class PerturbedStage(nn.Module):
    r"""Runs a piece of the network at $\theta + \sigma X_k$, every row k with its own $X_k$.

    The noise is keyed by the parameters' names in the whole network, so it does not depend on
    how the network was cut.

    Args:
        layers: consecutive layers of the network, by their names in it.
        law: of the perturbations.
        names: of all parameters of the whole network, which the law's groups refer to.
        seed: names the run.
    """

    def __init__(
        self, layers: Mapping[str, nn.Module], law: Law, names: list[str], seed: int
    ) -> None:
        super().__init__()
        self.chain = nn.Sequential(OrderedDict(layers))
        self.law = law
        self.names = names
        self.seed = seed
        self.step = 0  # keys the noise; the pipeline counts it

    def forward(self, x: Tensor, microbatch: Tensor) -> Tensor:
        """Run one microbatch.

        Args:
            x: shape ``(perturbations, batch, ...)``.
            microbatch: its index, shape ``(1,)``.

        Returns:
            Shape ``(perturbations, batch, ...)``.
        """
        samples, batch = x.shape[:2]
        lanes = self.law.lanes(Noise(self.seed, self.step, int(microbatch)), samples, batch)
        sigmas = self.law.sigmas(self.names, self.step)
        targets = self.law.targets(self.trainable(), sigmas, lanes)
        if samples == 1 and not targets:
            plain: Tensor = self.chain(x[0])
            return plain[None]
        if x.requires_grad:  # the engine sends contiguous tensors only, this way and back
            x = x.view_as(x)
            x.register_hook(Tensor.contiguous)  # type: ignore[no-untyped-call]
        repeats = x.stride(0) == 0  # the first stage's: the engine was given a view
        cycle = self.law.cycle(lanes, samples) if repeats else None
        rows = at_perturbed(self.chain, targets, lanes, self.law.spread(x), cycle=cycle)
        return self.law.gather(rows, samples).contiguous()

    def trainable(self) -> dict[str, nn.Parameter]:
        """This stage's trainable parameters, by their names in the whole network."""
        return {n: p for n, p in self.chain.named_parameters() if p.requires_grad}
