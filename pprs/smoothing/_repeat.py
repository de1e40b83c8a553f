"""Algorithm 1's average as it is written: perturb, run the closure, restore, K times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pprs.smoothing._checks import check_finite, check_scalar
from pprs.smoothing._noise import Noise
from pprs.smoothing._smooth import Closure


def repeat(
    closure: Closure,
    parameters: Mapping[str, nn.Parameter],
    sigma: float,
    samples: int,
    noise: Noise,
) -> Tensor:
    r"""Run a closure at $\theta + \sigma X_k$ for each k; leave the mean gradient in ``.grad``.

    For closures that vmap cannot run: those that call ``backward()`` themselves, as torch's
    optimizers take them, or that read values (``loss.item()``). The perturbations are those that
    :func:`perturb` gives for the same noise, one at a time, so the memory is that of one pass. The
    closure sees every parameter at its perturbed value with ``.grad`` cleared; afterwards, and
    after any error, the parameters hold the very tensors they held before.

    Returns:
        The losses, shape ``(samples,)``, without graph.
    """
    streams = {name: noise.stream(name, p.device) for name, p in parameters.items()}
    total: dict[str, Tensor] = {}
    losses = []
    for _ in range(samples):
        with _perturbed(parameters, sigma, streams):
            losses.append(_run(closure, parameters))
        check_finite(losses[-1], sigma)
        for name, parameter in parameters.items():
            if parameter.grad is not None:
                total[name] = total[name].add_(parameter.grad) if name in total else parameter.grad
    for name, parameter in parameters.items():
        parameter.grad = total[name].div_(samples) if name in total else None
    return torch.stack(losses)


@contextmanager
def _perturbed(
    parameters: Mapping[str, nn.Parameter], sigma: float, streams: Mapping[str, torch.Generator]
) -> Iterator[None]:
    # Swapping the data, instead of adding and subtracting, restores every bit.
    kept = {name: parameter.data for name, parameter in parameters.items()}
    try:
        if sigma > 0:
            for name, parameter in parameters.items():
                draw = torch.empty(parameter.shape, dtype=parameter.dtype, device=parameter.device)
                draw.normal_(generator=streams[name])
                parameter.data = torch.add(parameter.data, draw, alpha=sigma)
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = kept[name]


def _run(closure: Closure, parameters: Mapping[str, nn.Parameter]) -> Tensor:
    for parameter in parameters.values():
        parameter.grad = None
    loss = check_scalar(closure())
    if all(parameter.grad is None for parameter in parameters.values()):
        loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()
