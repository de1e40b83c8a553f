"""The measured time and memory of each piece of a model."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._pytree import tree_leaves, tree_map

from pprs._arguments import counts
from pprs.pipeline.partitioner.layer_outputs import called
from pprs.pipeline.snapshot import untouched


@dataclass(frozen=True)
class Cost:
    """The time and memory of a piece of a model for one batch.

    Args:
        forward: seconds.
        backward: seconds; 0 where there is nothing to differentiate.
        parameters: bytes.
        activations: bytes that the backward pass needs the forward pass to keep, parameters aside.
        output: bytes sent to the next piece.

    Example:
        >>> cost = Cost(forward=0.01, backward=0.02, parameters=4000, activations=800, output=100)
        >>> cost.backward / cost.forward
        2.0
    """

    forward: float
    backward: float
    parameters: int
    activations: int
    output: int


def measure(
    pieces: Iterable[nn.Module], *example: Tensor | Mapping[str, Any], repeats: int = 5
) -> list[Cost]:
    """Run each piece by itself, on what the pieces before it make of an example.

    Gradients, buffers and the random numbers are left as they are.

    Args:
        pieces: a chain, or modules that each take the tensors that the one before gives.
        example: as for `pprs.pipeline.partitioner.chain.chain`.
        repeats: how often each piece runs after a first time, at least 1; its times are medians.

    Returns:
        The cost of each piece, in order.

    Raises:
        ValueError: for `repeats` below 1.

    Example:
        >>> costs = measure([nn.Linear(3, 4, dtype=torch.float64)], torch.ones(2, 3).double())
        >>> costs[0].parameters, costs[0].activations, costs[0].output
        (128, 48, 64)
    """
    counts(repeats=repeats)
    inputs: list[Tensor] = []
    for given in example:
        values = given.values() if isinstance(given, Mapping) else [given]
        inputs += [value for value in values if isinstance(value, Tensor)]
    costs = []
    value: Any = inputs[0] if len(inputs) == 1 else tuple(inputs)
    devices = {x.device.index for x in inputs if x.is_cuda}
    with torch.enable_grad(), torch.random.fork_rng(devices):
        for piece in pieces:
            with untouched(piece):
                runs = [_run(piece, value) for _ in range(1 + repeats)]  # the first takes longer
            times = zip(*(run[0] for run in runs[1:]), strict=True)
            forward, backward = (statistics.median(each) for each in times)
            _, saved, value = runs[-1]
            parameters = sum(_bytes(p) for p in piece.parameters())
            sent = sum(_bytes(x) for x in tree_leaves(value) if isinstance(x, Tensor))
            costs.append(Cost(forward, backward, parameters, saved, sent))
    return costs


def _run(piece: nn.Module, value: Any) -> tuple[tuple[float, float], int, Any]:
    """The seconds of the forward and of the backward, the bytes kept, and the output."""
    saved: dict[int, int] = {}
    own = {p.untyped_storage().data_ptr() for p in piece.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:  # counted once, with all its views
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    def call(arguments: Any) -> Any:
        with saved_tensors_hooks(keep, _same):
            return called(piece, arguments)

    output, *seconds = timed(call, value, piece.parameters())
    return (seconds[0], seconds[1]), sum(saved.values()), tree_map(_detached, output)


def timed(
    call: Callable[[Any], Any], arguments: Any, parameters: Iterable[Tensor]
) -> tuple[Any, float, float]:
    """The output of a call, and the seconds of its forward and of its backward.

    Args:
        call: a function of the arguments.
        arguments: with tensors at any depth; the call gets copies.
        parameters: whose gradients the backward gives, too.
    """
    sources = [parameter for parameter in parameters if parameter.requires_grad]

    def fresh(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        x = x.detach()
        if x.is_floating_point():
            sources.append(x.requires_grad_())
        return x.clone()  # what is no leaf may be changed in place

    given = tree_map(fresh, arguments)
    start = now()
    output = call(given)
    forward = now() - start
    ends = [x for x in tree_leaves(output) if isinstance(x, Tensor) and x.requires_grad]
    if not ends:
        return output, forward, 0.0
    gradients = [torch.ones_like(end) for end in ends]
    start = now()
    torch.autograd.grad(ends, sources, gradients, allow_unused=True)
    return output, forward, now() - start


def _detached(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def now() -> float:
    """The time at which all that was asked for is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
