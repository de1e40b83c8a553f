"""Keep the inputs of a computation, and run it again when its gradient is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


def recomputed(
    run: Callable[..., Any], inputs: Sequence[Tensor], parameters: Sequence[Tensor]
) -> Any:
    """`run(*inputs)`, of which nothing but the inputs is kept for the backward pass.

    Args:
        run: gives a tensor or a tuple of tensors, the same at each call but for what torch's
            generators draw, which is drawn again.
        inputs: the tensors it takes.
        parameters: the parameters that it reaches by itself.
    """
    return _Recomputed.apply(run, len(inputs), *inputs, *parameters)  # type: ignore[no-untyped-call]


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, run: Callable[..., Any], count: int, *tensors: Tensor) -> Any:
        ctx.run, ctx.count = run, count
        ctx.surroundings = _Surroundings(tensors)
        ctx.save_for_backward(*tensors)
        return run(*tensors[:count])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        tensors = ctx.saved_tensors
        inputs = [x.detach().requires_grad_(x.requires_grad) for x in tensors[: ctx.count]]
        with torch.enable_grad(), ctx.surroundings.again():
            results = ctx.run(*inputs)
        results = results if isinstance(results, tuple) else (results,)
        ends = [(y, g) for y, g in zip(results, gradients, strict=True) if y.requires_grad]
        sources = [*inputs, *tensors[ctx.count :]]
        wanted = [x for x in sources if x.requires_grad]
        found = iter(_gradients(ends, wanted))
        return (None, None, *(next(found) if x.requires_grad else None for x in sources))


def _gradients(ends: Sequence[tuple[Tensor, Tensor]], wanted: Sequence[Tensor]) -> Any:
    outputs, arrived = [y for y, _ in ends], [g for _, g in ends]
    try:
        return torch.autograd.grad(outputs, wanted, arrived, allow_unused=True)
    except RuntimeError as error:
        if "use_reentrant" not in str(error):
            raise
        raise RuntimeError(
            "a layer runs torch.utils.checkpoint with use_reentrant=True, which recompute=True "
            "cannot run again: pass use_reentrant=False there, or leave recompute=True out"
        ) from error


class _Surroundings:
    """What a computation depends on besides its inputs: generators and autocast."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        device = tensors[0].device
        self._devices = [device] if device.type == "cuda" else []
        self._generator = torch.get_rng_state()
        self._generators = [torch.cuda.get_rng_state(d) for d in self._devices]
        self._autocast: dict[str, Any] = {
            "device_type": device.type,
            "enabled": torch.is_autocast_enabled(device.type),
            "dtype": torch.get_autocast_dtype(device.type),
            "cache_enabled": torch.is_autocast_cache_enabled(),
        }

    @contextmanager
    def again(self) -> Iterator[None]:
        with torch.random.fork_rng(self._devices), torch.autocast(**self._autocast):
            torch.set_rng_state(self._generator)
            for device, state in zip(self._devices, self._generators, strict=True):
                torch.cuda.set_rng_state(state, device)
            yield
