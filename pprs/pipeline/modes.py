"""Training and evaluation mode, and the modules that a user keeps in evaluation."""

from __future__ import annotations

from collections.abc import Iterable

from torch import fx, nn

from pprs.pipeline.partitioner import Chain
from pprs.pipeline.stage import PerturbedStage
from pprs.smoothing import check_normalisation


class Modes:
    """Switches stages, and puts no module into training that was kept out of it.

    Kept is what is in evaluation mode while the rest trains, when the stages are switched; where
    nothing else is in them, what was so in the whole network.

    Args:
        stages: of this process.
        whole: the network's chain, in its mode.
    """

    def __init__(self, stages: Iterable[PerturbedStage], whole: Chain) -> None:
        self._stages, self._training = list(stages), whole.training
        self._traced = whole.training if whole.fixed else None  # the only mode it has
        self._kept = _kept_of([whole], set()) & set(_users(self._chains))

    def switch(self, training: bool) -> None:
        """Put the stages into a mode.

        Raises:
            RuntimeError: for BatchNorm that would train, or if the trace has no other mode.
        """
        if self._traced is not None and training != self._traced:
            modes = ("training", "evaluation") if self._traced else ("evaluation", "training")
            raise RuntimeError(
                f"the network was traced in {modes[0]} mode, and computes something else in "
                f"{modes[1]} mode: take what depends on self.training out of its forward, trace "
                f"it in {modes[1]} mode for that, or pass an nn.Sequential of its layers"
            )
        if self._training:
            self._kept = _kept_of(self._chains, self._kept)
        for stage in self._stages:
            stage.train(training)
        for module in self._kept:
            module.training = False
        self._training = training
        try:
            for stage in self._stages:
                check_normalisation(stage.chain)
        except RuntimeError:
            self.switch(False)
            raise

    @property
    def _chains(self) -> list[nn.Module]:
        return [stage.chain for stage in self._stages]


def _kept_of(chains: Iterable[nn.Module], before: set[nn.Module]) -> set[nn.Module]:
    """What is in evaluation mode, unless all is; then what was kept before."""
    users = _users(chains)
    kept = {module for module in users if not module.training}
    return kept if len(kept) < len(set(users)) else kept & before


def _users(chains: Iterable[nn.Module]) -> list[nn.Module]:
    """The modules that a user made."""
    return [
        module
        for chain in chains
        for module in chain.modules()
        if not isinstance(module, fx.GraphModule | Chain) and type(module) is not nn.Module
    ]
