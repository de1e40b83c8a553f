"""How a perturbation is given, whole or in parts, and how it is printed, with its unit."""

import pytest
import torch
from torch import nn

import pprs
from pprs.smoothing import Perturbation


def test_what_sigma_is_relative_to_is_seen_in_the_object_and_its_words():
    absolute, relative = Perturbation(0.01), Perturbation.filter(0.01, 16, antithetic=True)
    assert relative == Perturbation(0.01, 16, antithetic=True, scale="filter")
    assert f"{absolute}" == "8 perturbations, sigma 0.01"
    assert f"{relative}" == "16 perturbations in pairs, 0.01 of each filter's norm"
    groups = Perturbation({"": 0.1, "0": lambda t: 0.1, "1": 0.1}, 1, "example")
    assert f"{groups}" == "1 perturbation of each example, sigma 0.1 or a function of the step"
    for each in (absolute, relative, Perturbation({"": 0.1}, 2, "example")):
        assert eval(repr(each)) == each
    assert repr(relative) == "Perturbation.filter(sigma=0.01, samples=16, antithetic=True)"


@pytest.mark.parametrize(
    ("whole", "parts"),
    [
        (Perturbation(0.2, 4), dict(sigma=0.2, samples=4)),
        (Perturbation.filter(0.2, 2), dict(sigma=0.2, samples=2, scale="filter")),
        (Perturbation(0.2, 8, "example", True), dict(sigma=0.2, noise="example", antithetic=True)),
        (0.2, dict(sigma=0.2)),
        (Perturbation.filter(0.01), dict()),
    ],
    ids=str,
)
def test_smooth_takes_a_perturbation_whole_or_in_parts(whole, parts):
    model, batch = nn.Linear(6, 3), (torch.eye(6),)
    one, other = (
        pprs.smooth(lambda x: model(x).pow(2).mean(), model, *a, batch=batch, seed=0, step=0, **k)
        for a, k in (([whole], {}), ([], parts))
    )
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("whole", "parts", "said"),
    [
        (Perturbation(0.1), dict(samples=8), "perturbation=Perturbation.*besides, samples=8: give"),
        (Perturbation(0.1), dict(sigma=0.1, noise="shared"), "sigma=0.1, noise='shared'"),
        (Perturbation.filter(0.1), dict(scale=None), "scale=None"),
        (None, dict(sigma=Perturbation(0.1)), "got Perturbation.*: pass it as perturbation="),
        (0.1, dict(sigma=0.2), "perturbation=0.1 and, besides, sigma=0.2"),
    ],
)
def test_what_is_given_whole_and_in_parts_is_refused(whole, parts, said):
    model = nn.Linear(2, 1)
    with pytest.raises(ValueError, match=said):
        pprs.smooth(model.weight.sum, model, whole, unused="allow", **parts)
    with pytest.raises(ValueError, match=said):
        pprs.PPRS(model, 0.1, perturbation=whole, **parts)


def test_a_loss_that_is_not_finite_is_reported_with_the_unit_of_sigma():
    model = nn.Linear(2, 1)
    closure = lambda: model(torch.ones(2)).sum() / 0  # noqa: E731
    with pytest.raises(RuntimeError, match=r"inf, 0\.01 of each filter's norm\)"):
        pprs.smooth(closure, model)
    groups = {"weight": 0.1, "bias": 0.2}
    with pytest.raises(RuntimeError, match=r"inf, sigma 0\.1 or 0\.2\)"):
        pprs.PPRS(model, 0.1, sigma=groups).step(closure)


@pytest.mark.parametrize("way", [pprs.smooth, pprs.capture])
@pytest.mark.parametrize(("scale", "said"), [("filters", "one of"), (None, "needs a sigma")])
def test_a_scale_that_the_default_of_sigma_has_not_is_refused(way, scale, said):
    model = nn.Linear(2, 1)
    with pytest.raises(ValueError, match=f"scale.*{said}"):
        way(model.weight.sum, model, unused="allow", scale=scale)


@pytest.mark.parametrize("seed", [1.0, "1", True])
def test_a_seed_that_is_no_integer_is_refused(seed):
    model = nn.Linear(2, 1)
    makers = [
        lambda: pprs.smooth(model.weight.sum, model, unused="allow", seed=seed),
        lambda: pprs.capture(model.weight.sum, model, seed=seed),
        lambda: pprs.PPRS(model, 0.1, sigma=0.1, seed=seed),
        lambda: pprs.SearchedStep(torch.optim.SGD(model.parameters(), 0.1), model, seed=seed),
    ]
    for make in makers:
        with pytest.raises(ValueError, match=f"seed must be an integer, got {seed!r}"):
            make()
