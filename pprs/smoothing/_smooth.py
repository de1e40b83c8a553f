"""The Gaussian-smoothed loss of a closure, all perturbations in one vectorised pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from pprs.smoothing._caches import fresh_caches
from pprs.smoothing._checks import (
    Refusal,
    Unused,
    check_batch,
    check_closure,
    check_finite,
    check_met,
    check_model,
    check_scalar,
    check_unused,
    warn_of_zeros,
)
from pprs.smoothing._function_mode import Smoothed
from pprs.smoothing._noise import Noise, checked_seed
from pprs.smoothing._pass import Pass
from pprs.smoothing._perturbation import (
    DEFAULT_SAMPLES,
    NoiseKind,
    Perturbation,
    Scale,
    Sigma,
    default,
)
from pprs.smoothing._sharing import Samples
from pprs.smoothing._side_effects import SideEffects
from pprs.smoothing._size_check import (
    SizeCheck,
    plain_failure,
    plain_loss,
    uncompiled,
    warn_of_size,
)
from pprs.smoothing._target import Drawn, Target
from pprs.smoothing._together import gather, remember
from pprs.smoothing._vmap import Operand, Periodic, depth, over_samples
from pprs.smoothing._watch import CHECKPOINT, Watch, has_run, is_first

Closure = Callable[..., Tensor]
"""Computes a loss; it is called with the tensors of a batch, if there is one."""
Batch = Sequence[Tensor]

# How often smooth was called on a model: the step that keys the next call's noise.
_calls: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
_size_checks: WeakKeyDictionary[nn.Module, SizeCheck] = WeakKeyDictionary()
one_by_one: ContextVar[bool] = ContextVar("one_by_one", default=False)
"""Whether perturbations run one after the other: what a closure smooths then is smoothed twice."""


def smooth(
    closure: Closure,
    model: nn.Module,
    perturbation: Perturbation | Sigma | None = None,
    samples: int = default(DEFAULT_SAMPLES),
    *,
    sigma: Sigma | None = None,
    noise: NoiseKind = default("shared"),
    antithetic: bool = default(False),
    scale: Scale | None = default(None),
    batch: Batch | None = None,
    seed: int | None = None,
    step: int | None = None,
    unused: Unused = "error",
    check: bool = True,
) -> Tensor:
    r"""The Gaussian-smoothed loss, the mean of $f(\theta + \sigma X_k)$ with $X_k \sim N(0, I)$.

    Its gradient is the $G_t$ of Algorithm 1, an unbiased estimate of the gradient of
    $f^\sigma(\theta) = \mathbb{E}\, f(\theta + \sigma X)$, with exactly the distribution of K
    passes at perturbed parameters. Every trainable parameter of `model` is perturbed; all K
    perturbations run together under `torch.func.vmap`. Each call draws fresh noise from streams
    of its own; torch's global generator is not touched.

    Args:
        closure: computes the loss, a scalar tensor; called with the tensors of `batch`. It must
            reach the parameters through `model`.
        model: whose trainable parameters $\theta$ are perturbed.
        perturbation: all that is said of $\sigma X_k$; or sigma, and then the rest by keywords. By
            default 0.01 of the norm of each filter, `Perturbation.filter(0.01)`.
        samples: number $K \ge 1$ of perturbations.
        sigma: standard deviation $\sigma \ge 0$ of the perturbations, in the parameters' units: a
            number, a function of the step, or a dictionary from names of modules or parameters to
            these.
        noise: `"shared"`: one $X_k$ for the whole batch, as in the source. `"example"`: one for
            every perturbation and example, with the variance of $K m$ perturbations; the closure
            then sees one example at a time, a batch of one, and its loss must be a mean over
            examples for the smoothed function to be the same.
        antithetic: draw $X_k$ in pairs X, -X; `samples` must be even.
        scale: `"filter"` multiplies sigma by the norm of each filter.
        batch: tensors of shape `(m, ...)`; needed with `noise="example"`.
        seed: makes the sequence of calls on this model repeatable; `None` draws one per call.
        step: keys the noise together with the seed; by default the number of earlier calls of
            `smooth` on this model.
        unused: `"error"`: the first call of a closure fails if it leaves trainable parameters of
            `model` unused, and names them: it may have run another model. `"allow"`: they have
            no gradient, as in torch.
        check: in the calls 1, 2, 4, 8, ... on this model, run the closure once without noise, too,
            and warn, once, if sigma is too large or too small for the loss; results stay the same.

    Returns:
        A scalar; `backward()` leaves $G_t$ in the parameters' `.grad`.

    Raises:
        ValueError: for a negative or infinite `sigma`, `samples` below 1, a whole perturbation
            and keywords for its parts, a model without trainable parameters, or a loss that is not
            a scalar tensor.
        RuntimeError: for BatchNorm in training mode, a parameter that is used in a way that cannot
            be perturbed or not at all, a buffer that the closure sets from perturbed values,
            backward hooks, or a loss that is not finite. The model is then what it was.

    Example:
        >>> import torch, pprs
        >>> model = torch.nn.Linear(3, 1)
        >>> x = torch.ones(5, 3)
        >>> loss = pprs.smooth(lambda: model(x).abs().mean(), model, sigma=0.1, samples=4)
        >>> loss.backward()
        >>> model.weight.grad.shape
        torch.Size([1, 3])
    """
    _check_not_inside()
    parameters = check_model(model)
    if is_first(model, closure):
        check_closure(closure, batch)
        check_unused(unused)
    if step is None:
        step = _calls.get(model, 0)
        _calls[model] = step + 1
    perturbation = Perturbation.or_default(perturbation, sigma, samples, noise, antithetic, scale)
    sigmas = perturbation.sigmas(parameters, step)
    warn_of_zeros(model, parameters, sigmas, perturbation.scale)
    keyed = Noise(checked_seed(seed), step)
    rows = check_batch(batch, perturbation.noise)
    try:
        losses = losses_at(closure, parameters, perturbation, sigmas, keyed, batch, model, unused)
    except Refusal:
        raise
    except Exception as error:
        row = [x[:1] for x in rows] if perturbation.noise == "example" else rows
        plainly = plain_failure(closure, row, model, parameters.values())
        if plainly is not None:
            said = f"{type(plainly).__name__}: {plainly}"
            error.add_note(f"The closure fails without noise, too, with {said}")
        raise
    check_finite(losses, perturbation)
    sized = _size_checks.setdefault(model, SizeCheck())
    if check and any(sigmas.values()) and sized.due():
        plain = plain_loss(closure, batch, model, parameters.values())
        if plain is not None:
            with_noise = losses.detach().tolist()
            warn_of_size(sized.compared(plain, with_noise, perturbation, sigmas.values()))
    return losses.mean()


def losses_at(
    closure: Closure,
    parameters: Mapping[str, Tensor],
    perturbation: Perturbation,
    sigmas: Mapping[str, float],
    noise: Noise,
    batch: Batch | None,
    model: nn.Module | None = None,
    unused: Unused = "error",
) -> Tensor:
    """The losses of a closure at every sample's parameters, shape `(samples,)`.

    The first pass of a closure at a model is checked more thoroughly than the others; without a
    model every pass is.
    """
    targets, samples, rows = laid_out(parameters, perturbation, sigmas, noise, batch)
    first = is_first(model, closure)
    losses: Tensor = at_perturbed(
        lambda *row: check_scalar(closure(*row)),
        targets,
        samples,
        *rows,
        cycle=samples.cycle,
        model=model,
        watched=first,
        closure=closure,
    )
    unmet = [target.name for target in targets if target.drawn is Drawn.NOTHING]
    check_met(unmet, len(targets), unused if first else "allow", losses)
    has_run(model, closure)
    return losses


def laid_out(
    parameters: Mapping[str, Tensor],
    perturbation: Perturbation,
    sigmas: Mapping[str, float],
    noise: Noise,
    batch: Batch | None,
) -> tuple[list[Target], Samples, list[Tensor]]:
    """The parameters of a pass, its samples of X, and the batch as each sample meets it.

    Raises:
        ValueError: if the batch cannot be taken example by example where it should.
    """
    examples = check_batch(batch, perturbation.noise)
    count = perturbation.samples
    samples = perturbation.samples_of(count, len(examples[0]) if examples else 1)
    rows = [samples.spread(example.expand(count, *example.shape)) for example in examples]
    return perturbation.targets(parameters, sigmas, noise, samples), samples, rows


def at_perturbed(
    function: Callable[..., Any],
    targets: Sequence[Target],
    samples: Samples,
    *inputs: Tensor,
    cycle: int | None = None,
    model: nn.Module | None = None,
    watched: bool = True,
    closure: Closure | None = None,
) -> Any:
    """Run a function at every sample's parameters.

    Args:
        function: of one sample's inputs; meets the parameters by itself. It gives a tensor, or a
            tuple of tensors.
        targets: the parameters.
        samples: of X.
        inputs: shape `(samples, ...)`.
        cycle: the number of samples after which the inputs repeat, if they do.
        model: whose state is looked after.
        watched: whether every operation is checked.
        closure: what else is looked after: what it refers to.

    Returns:
        The results, shape `(samples, ...)` each.
    """
    _check_not_inside()
    gather(targets, model)
    passes: list[Pass] = []
    periodic = [Periodic(x, cycle) for x in inputs if cycle is not None and not x.is_inference()]
    state = None if model is None else SideEffects(model, samples.count, watched, closure)
    watch = Watch(targets) if watched else None

    def at_sample(sample: Tensor, *rows: Tensor) -> Any:
        names = None if state is None else state.names
        passes.append(Pass(targets, samples, sample, periodic, names))
        with Smoothed(passes[-1]), watch or nullcontext():
            return function(*rows)

    # What all samples share is kept apart: the first layer then meets it once.
    same = [tensor.stride(0) == 0 and samples.count > 1 for tensor in inputs]
    rows = [Operand(x[0] if shared else x, shared) for x, shared in zip(inputs, same, strict=True)]
    sample = Operand(torch.arange(samples.count, device=_device(targets, inputs)), shared=False)
    try:
        with uncompiled(), fresh_caches():
            result = over_samples(at_sample, samples.count, [sample, *rows])
        passes[-1].close(*(result if isinstance(result, tuple) else (result,)))
        remember(targets, model)
        if state is not None:
            state.settle(passes[-1].read)
        if watch is not None and watch.refusal is not None:
            raise watch.refusal
    except BaseException as error:
        if state is not None:
            state.restore()
        if watch is not None and watch.refusal not in {None, error}:
            raise watch.refusal from None
        _explain(error)
        raise
    return result


def _check_not_inside() -> None:
    if depth() or one_by_one.get():
        raise Refusal(
            "a smoothed loss was asked for inside another one's closure, or inside torch.func "
            "(vmap, grad, ...): compute it outside, and add the losses there"
        )


def _explain(error: BaseException) -> None:
    if "_NoopSaveInputs" in str(error):  # torch's checkpointing before 2.13
        raise CHECKPOINT from None
    if "backward() called inside" in str(error):
        raise RuntimeError(
            "the closure calls backward(): let it return the loss only, and call backward() on the "
            "smoothed loss"
        ) from error
    if "setup_context" in str(error):
        raise RuntimeError(
            "the closure runs a torch.autograd.Function that torch.func.vmap cannot: one without "
            "setup_context and a vmap rule, or that by which modules run backward hooks. Write its "
            f"rule, or remove it while smoothing (torch: {error})"
        ) from error


def _device(targets: Sequence[Target], inputs: Sequence[Tensor]) -> torch.device | None:
    tensors = [*(target.parameter for target in targets[:1]), *inputs]
    return tensors[0].device if tensors else None
