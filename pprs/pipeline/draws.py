"""Random numbers of layers, dropout above all, as a function of layer, step and microbatch.

Otherwise it would depend on the schedule and on how the network is cut, and would leave the
generators of the ranks in different states: a data loader that shuffles with torch's own would then
give each rank other examples.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from pprs.pipeline.partitioner import Chain
from pprs.smoothing import derive_seed

_TORCH = "torch"  # costs microseconds: always seeded, the others only where something draws of them


class Draws:
    """Seeds the generators for each piece of a stage.

    Args:
        pieces: of the stage.
        first: the number of the first in the whole network.

    Attributes:
        seed: names the run; `None` seeds nothing.
    """

    def __init__(self, pieces: Chain, first: int) -> None:
        self._pieces, self._first = pieces, first
        self.seed: int | None = None
        self._drawing: set[int] = set()  # pieces that draw from other generators than torch's

    @property
    def kinds(self) -> set[str]:
        """The generators that are drawn from, and torch's."""
        return set(_GENERATORS) if self._drawing else {_TORCH}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Find out inside the block which pieces draw from other generators than torch's."""
        before = b""

        def begin(*_: object) -> None:
            nonlocal before
            before = _others()

        def end(index: int, *_: object) -> None:
            if _others() != before:
                self._drawing.add(index)

        with ExitStack() as stack:
            for index, piece in enumerate(self._pieces):
                stack.callback(piece.register_forward_pre_hook(begin).remove)
                stack.callback(piece.register_forward_hook(partial(end, index)).remove)
            yield

    @contextmanager
    def seeded(self, step: int, microbatch: int, device: torch.device) -> Iterator[None]:
        """Seed the generators for every piece that runs inside the block."""

        if self.seed is None:
            yield
            return
        first = derive_seed(self.seed, step, microbatch, "draws") + self._first

        def seed(index: int) -> None:
            for kind in _GENERATORS if index in self._drawing else (_TORCH,):
                _GENERATORS[kind][2](first + index, device)

        self._pieces.before = seed
        try:
            yield
        finally:
            self._pieces.before = None


@contextmanager
def generators_kept(kinds: set[str], device: torch.device) -> Iterator[None]:
    """Leave generators as they were before the block."""
    before = {kind: _GENERATORS[kind][0](device) for kind in kinds}
    try:
        yield
    finally:
        for kind, state in before.items():
            _GENERATORS[kind][1](state, device)


def _others() -> bytes:
    return pickle.dumps((random.getstate(), np.random.get_state()))


def torch_state_hash() -> int:
    """A hash of the state of torch's generator; nothing is drawn."""
    return derive_seed(torch.get_rng_state().numpy().tobytes().hex())


def _torch_state(device: torch.device) -> list[Any]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _set_torch(states: list[Any], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)


def _seed_torch(seed: int, device: torch.device) -> None:
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


_GENERATORS: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]] = {
    _TORCH: (_torch_state, _set_torch, _seed_torch),
    "random": (
        lambda _: random.getstate(),
        lambda state, _: random.setstate(state),
        lambda seed, _: random.seed(seed),
    ),
    "numpy": (
        lambda _: np.random.get_state(),
        lambda state, _: np.random.set_state(state),
        lambda seed, _: np.random.seed(seed % 2**32),
    ),
}
