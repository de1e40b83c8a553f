"""The Gaussian-smoothed loss of a closure, all perturbations in one vectorised pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.func import functional_call, vmap

from pprs.smoothing._checks import check_finite, check_scalar, checked_parameters
from pprs.smoothing._noise import Noise, fresh_seed
from pprs.smoothing._perturb import perturb

Closure = Callable[[], Tensor]

# How often smooth was called on a model: the step that keys the next call's noise.
_calls: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


def smooth(
    closure: Closure,
    model: nn.Module,
    sigma: float,
    samples: int,
    *,
    seed: int | None = None,
    step: int | None = None,
) -> Tensor:
    r"""The Gaussian-smoothed loss, the mean of $f(\theta + \sigma X_k)$ with $X_k \sim N(0, I)$.

    Its gradient is the $G_t$ of Algorithm 1, an unbiased estimate of the gradient of
    $f^\sigma(\theta) = \mathbb{E}\, f(\theta + \sigma X)$. Every trainable parameter of ``model``
    is perturbed; all K perturbations run together under ``torch.func.vmap``. Each call draws fresh
    noise from generators of its own; torch's global generator is not touched.

    Args:
        closure: computes the loss, a scalar tensor. It must reach the parameters through ``model``.
        model: whose trainable parameters $\theta$ are perturbed.
        sigma: standard deviation $\sigma \ge 0$ of the perturbations, in the parameters' units.
        samples: number $K \ge 1$ of perturbations.
        seed: makes the sequence of calls on this model repeatable; ``None`` draws one per call.
        step: keys the noise together with the seed; by default the number of earlier calls of
            ``smooth`` on this model.

    Returns:
        A scalar; ``backward()`` leaves $G_t$ in the parameters' ``.grad``.

    Raises:
        ValueError: for a negative or infinite ``sigma``, ``samples`` below 1, a model without
            trainable parameters, or a loss that is not a scalar tensor.
        RuntimeError: for BatchNorm in training mode, or a loss that is not finite.

    Example:
        >>> import torch, pprs
        >>> model = torch.nn.Linear(3, 1)
        >>> x = torch.ones(5, 3)
        >>> loss = pprs.smooth(lambda: model(x).abs().mean(), model, sigma=0.1, samples=4)
        >>> loss.backward()
        >>> model.weight.grad.shape
        torch.Size([1, 3])
    """
    if step is None:
        step = _calls.get(model, 0)
        _calls[model] = step + 1
    parameters = checked_parameters(model, sigma, samples)
    noise = Noise(fresh_seed() if seed is None else seed, step)
    losses = losses_at(closure, model, perturb(parameters, sigma, samples, noise))
    check_finite(losses, sigma)
    return losses.mean()


def losses_at(closure: Closure, model: nn.Module, perturbed: Mapping[str, Tensor]) -> Tensor:
    """The losses of a closure at K stacked parameters, shape ``(K,)``, in one pass under vmap."""
    whole = _WithClosure(model, closure)

    def loss_at(parameters: Mapping[str, Tensor]) -> Tensor:
        named = {f"model.{name}": value for name, value in parameters.items()}
        return check_scalar(functional_call(whole, named, ()))

    losses: Tensor = vmap(loss_at, randomness="different")(perturbed)
    return losses


class _WithClosure(nn.Module):
    """Lets ``functional_call`` swap the parameters of a model while a closure runs."""

    def __init__(self, model: nn.Module, closure: Closure) -> None:
        super().__init__()
        self.model = model
        self.closure = closure

    def forward(self) -> Tensor:
        return self.closure()
