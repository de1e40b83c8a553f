"""A function of tensors on a CUDA device, recorded as a CUDA graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class CudaGraph:
    """Runs the kernels that a function starts, all by one call."""

    _WARM_UP = 2  # what is compiled, chosen and kept at first is then there

    def __init__(
        self, function: Callable[..., tuple[Tensor | None, ...]], inputs: Sequence[Tensor]
    ) -> None:
        self._inputs = [tensor.clone() for tensor in inputs]
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(self._WARM_UP):
                function(*self._inputs)
            with _refused_waiting():
                function(*self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        torch.clear_autocast_cache()
        self._graph = torch.cuda.CUDAGraph()
        graph = torch.cuda.graph(self._graph, capture_error_mode="thread_local")
        with _generator_mended(), graph:
            self._results = function(*self._inputs)

    @torch.no_grad()
    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor | None]:
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._graph.replay()
        there = [result for result in self._results if result is not None]
        copies = iter(torch._foreach_add(there, 0))  # the next run overwrites them
        return [None if result is None else next(copies) for result in self._results]


@contextmanager
def _refused_waiting() -> Iterator[None]:
    """Inside the block it is an error if the host waits for the device: a graph cannot hold that.

    Found out without a graph, since one that fails leaves torch in an odd state.
    """
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():  # that the mode is new and does not see all
        warnings.simplefilter("ignore", UserWarning)
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(mode)


@contextmanager
def _generator_mended() -> Iterator[None]:
    """After an error in the block, torch's generator draws again, which else waits for a graph."""
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    state = generator.get_state()
    try:
        yield
    except Exception:
        fresh = torch.Generator(device=generator.device)
        fresh.set_state(state)
        generator.graphsafe_set_state(fresh.graphsafe_get_state())
        raise
