"""The part of a network that one process holds, run at perturbed parameters."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn
from torch.func import functional_call, vmap

from pprs.smoothing import Noise, perturb


class PerturbedStage(nn.Module):
    r"""Runs a piece of the network at $\theta + \sigma X_k$, every row k with its own $X_k$.

    The noise is keyed by the parameters' names in the whole network, so it does not depend on
    how the network was cut.

    Args:
        layers: consecutive layers of the network, by their names in it.
        sigma: standard deviation of the perturbations, at least 0.
        seed: names the run.
    """

    def __init__(self, layers: Mapping[str, nn.Module], sigma: float, seed: int) -> None:
        super().__init__()
        self.chain = nn.Sequential(OrderedDict(layers))
        self.sigma = sigma
        self.seed = seed
        self.step = 0  # keys the noise; the pipeline counts it

    def forward(self, x: Tensor, microbatch: Tensor) -> Tensor:
        """Run one microbatch.

        Args:
            x: shape ``(perturbations, *input)``.
            microbatch: its index, shape ``(1,)``.

        Returns:
            Shape ``(perturbations, *output)``.
        """
        if len(x) == 1 and self.sigma == 0:
            plain: Tensor = self.chain(x[0])
            return plain[None]
        noise = Noise(self.seed, self.step, int(microbatch))
        perturbed = perturb(self.trainable(), self.sigma, len(x), noise)

        def run(parameters: dict[str, Tensor], row: Tensor) -> Tensor:
            output: Tensor = functional_call(self.chain, parameters, (row,))
            return output

        if len(x) == 1:  # vmap's own cost shows where there is nothing to vectorise
            return run({name: value[0] for name, value in perturbed.items()}, x[0])[None]
        output: Tensor = vmap(run, randomness="different")(perturbed, x)
        return output

    def trainable(self) -> dict[str, nn.Parameter]:
        """This stage's trainable parameters, by their names in the whole network."""
        return {n: p for n, p in self.chain.named_parameters() if p.requires_grad}
