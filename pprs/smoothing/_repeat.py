"""Algorithm 1's average as it is written: perturb, run the closure, restore, K times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from pprs.smoothing._caches import loose_weights
from pprs.smoothing._checks import check_finite, check_scalar
from pprs.smoothing._graph import leaves
from pprs.smoothing._holding import holding
from pprs.smoothing._noise import Noise
from pprs.smoothing._perturbation import Perturbation
from pprs.smoothing._smooth import Batch, Closure, laid_out, one_by_one
from pprs.smoothing._target import Target


def repeat(
    closure: Closure,
    parameters: Mapping[str, nn.Parameter],
    perturbation: Perturbation,
    sigmas: Mapping[str, float],
    noise: Noise,
    batch: Batch | None,
) -> Tensor:
    r"""Run a closure at $\theta + \sigma X_k$ for each k; leave the mean gradient in `.grad`.

    For closures that vmap cannot run: those that call `backward()` themselves, as torch's
    optimizers take them, or that read values (`loss.item()`). The perturbations come one at a
    time, so the memory is that of one pass. The closure sees every parameter at its perturbed value
    with `.grad` cleared; afterwards, and after any error, the parameters hold the very tensors
    they held before.

    Returns:
        The losses, shape `(samples,)`, without graph.

    Raises:
        RuntimeError: if a loss is not finite, or no parameter has a gradient.
    """
    targets, samples, examples = laid_out(parameters, perturbation, sigmas, noise, batch)
    total: dict[str, Tensor] = {}
    losses = []
    for sample in range(samples.count):
        row = [example[sample] for example in examples]
        with _perturbed(targets, sample):
            losses.append(_run(closure, row, parameters))
        check_finite(losses[-1], perturbation)
        for name, parameter in parameters.items():
            grad = parameter.grad
            if grad is not None:  # never in place: autograd may let gradients share their memory
                total[name] = total[name] + grad if name in total else grad
    if not total:
        raise RuntimeError(_UNREACHED)
    for name, parameter in parameters.items():
        parameter.grad = total[name] / samples.count if name in total else None
    return torch.stack(losses)


def _perturbed(targets: Sequence[Target], sample: int) -> AbstractContextManager[None]:
    parameters = [target.parameter for target in targets]
    return holding(parameters, [target.at(sample) for target in targets])


def _run(closure: Closure, row: Sequence[Tensor], parameters: Mapping[str, nn.Parameter]) -> Tensor:
    for parameter in parameters.values():
        parameter.grad = None
    inside = one_by_one.set(True)
    try:
        with loose_weights():
            loss = check_scalar(closure(*row))
    finally:
        one_by_one.reset(inside)
    if all(parameter.grad is None for parameter in parameters.values()):
        try:
            loss.backward()  # type: ignore[no-untyped-call]
        except RuntimeError:
            if not leaves([loss]).isdisjoint(parameters.values()):
                raise
            raise RuntimeError(_UNREACHED) from None
    return loss.detach()


_UNREACHED = (
    "the closure's loss has no gradient by any trainable parameter of the model: does it use "
    "another model or a copy of this one, or is it computed under torch.no_grad()?"
)
