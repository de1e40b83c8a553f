"""One random model, smoothed: its draws are the literal estimator's, its limit is plain torch."""

from __future__ import annotations

import copy
import random
import warnings

import torch
from fuzz.models import RANDOM, REFUSED, Case, draw

import pprs
from pprs.smoothing import Noise, Perturbation, check_model, force_way, losses_at
from pprs.smoothing import repeat as literal

LAWS = {
    "shared": {},
    "pairs": {"antithetic": True},
    "filters": {"scale": "filter"},
    "example": {"noise": "example"},
}


def state_of(model):
    """What a model is besides its parameters: buffers, attributes that are tensors, and modes."""
    found = {}
    for name, module in model.named_modules():
        for key, value in {**module._buffers, **module.__dict__}.items():
            if isinstance(value, torch.Tensor | int | bool):
                found[f"{name}.{key}"] = value
    return found


def smoothed_case(number: int) -> str:
    """`"equal"`, `"refused: ..."`, or what is wrong, of a random model under a random law."""
    r = random.Random(-number)
    without = REFUSED if r.random() < 0.8 else frozenset()
    case, law = draw(number, without), r.choice(list(LAWS))
    autocast = r.random() < 0.25
    what = f"{law}{' autocast' if autocast else ''} {sorted(case.traits)}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = _compared(case, LAWS[law], autocast)
    return found if found.startswith(("equal", "refused")) else f"{found} [{what}]"


def _compared(case: Case, options, autocast: bool) -> str:
    model, before = case.model, state_of(copy.deepcopy(case.model))
    if autocast:
        case = case.single()
    per_example = options.get("noise") == "example"
    batch = (*case.inputs, case.target) if per_example else None

    def closure(*rows):
        *inputs, target = rows or (*(x.clone() for x in case.inputs), case.target)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return case.loss(model(*inputs), target)

    plain, exact = copy.deepcopy(model), copy.deepcopy(model)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        if not case.runs():
            return "refused: by plain torch"
        right = case.plain(plain)
    right.backward()
    wanted = {n: p.grad for n, p in plain.named_parameters() if p.requires_grad}
    try:
        loss = pprs.smooth(closure, model, 1e-9, 4, seed=1, batch=batch, **options)
        loss.backward()
    except (RuntimeError, ValueError) as error:
        return _refused(error, model, before)
    if not case.traits & RANDOM:
        tolerance = 0.02 + 4 * _lost(case, exact, wanted) if autocast else 1e-5
        bad = _different(dict(model.named_parameters()), wanted, tolerance)
        if bad or abs(loss - right) > tolerance * (1 + abs(right)):
            return f"WRONG against plain: {bad or (loss.item(), right.item())}"
    if (left := _left(model)) is not None:
        return f"WRONG state: {left}"
    # In the literal loop such a buffer goes on from one perturbation to the next.
    apart = case.traits & (RANDOM | {"buffer reassigned"})
    return "equal" if autocast or apart else _literally(case, closure, options, batch)


def _literally(case: Case, closure, options, batch) -> str:
    model, parameters = case.model, check_model(case.model)
    law, noise = Perturbation(0.3, 4, **options), Noise(5, 2)
    sigmas = law.sigmas(parameters, 2)
    model.zero_grad()
    with force_way("materialised"):
        try:
            losses = losses_at(closure, parameters, law, sigmas, noise, batch)
            losses.mean().backward()
        except (RuntimeError, ValueError) as error:
            return f"WRONG refused late: {error}"
    found = {n: p.grad for n, p in parameters.items()}
    expected = literal(closure, parameters, law, sigmas, noise, batch)
    bad = _different(parameters, found, 1e-6)
    if bad or not torch.allclose(losses, expected):
        return f"WRONG against the literal loop: {bad or (losses, expected)}"
    return "equal"


def _lost(case, exact, wanted):
    """How far autocast itself takes the gradients from those in float32, of the largest."""
    case.plain(exact).backward()
    found = {n: p.grad for n, p in exact.named_parameters() if p.grad is not None}
    scale = max(grad.abs().max() for grad in found.values())
    return max(float((grad - wanted[n]).abs().max() / scale) for n, grad in found.items())


def _different(parameters, wanted, tolerance):
    scale = max([1e-6, *(float(g.abs().max()) for g in wanted.values() if g is not None)])
    return {
        name: None if p.grad is None else float((p.grad - wanted[name]).abs().max())
        for name, p in parameters.items()
        if name in wanted
        and (
            (p.grad is None) != (wanted[name] is None)
            or (p.grad is not None and (p.grad - wanted[name]).abs().max() > tolerance * scale)
        )
    }


def _left(model):
    """What a step has left in the model that cannot be saved or used."""
    for name, value in state_of(model).items():
        if isinstance(value, torch.Tensor):
            try:
                value.sum().item()
            except RuntimeError:
                return name
    return None


def _refused(error, model, before) -> str:
    after = state_of(model)
    for name, value in before.items():
        if name not in after or float(torch.as_tensor(after[name] - value).abs().sum()):
            return f"WRONG state after refusal: {name}"
    return f"refused: {str(error).splitlines()[0][:110]}"
