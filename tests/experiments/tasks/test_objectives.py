import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch.func import vmap

import pprs
from pprs.compare.network import relu_network
from pprs_experiments.tasks.losses import PER_EXAMPLE, cross_entropies, distances
from pprs_experiments.tasks.objectives import (
    cvar,
    group_means,
    maximum,
    mean,
    objective,
    worst_group,
)

ALPHAS = [0.01, 0.1, 1 / 7, 0.25, 0.5, 2 / 3, 0.9, 1.0]


def losses(seed=0, number=7):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(number, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("seed", range(5))
def test_cvar_is_the_largest_mean_under_weights_of_at_most_one_over_alpha_m(alpha, seed):
    values = losses(seed)
    dual = linprog(
        -values.numpy(), A_eq=np.ones((1, 7)), b_eq=[1], bounds=(0, 1 / (alpha * 7)), method="highs"
    )
    if alpha < 1 / 7:  # then a single weight of 1 is best
        assert cvar(alpha)(values).item() == values.max().item()
    assert cvar(alpha)(values).item() == pytest.approx(-dual.fun, abs=1e-12)


def test_cvar_counts_the_last_of_the_worst_in_part():
    values = torch.tensor([1.0, 8.0, 4.0, 2.0])
    # 2.5 of 4 examples: 8, 4 and half of 2.
    assert cvar(0.625)(values).item() == pytest.approx((8 + 4 + 1) / 2.5)


def test_cvar_goes_from_the_maximum_to_the_mean():
    values = losses()
    assert cvar(1 / 7)(values).item() == pytest.approx(maximum(values).item())
    assert cvar(1.0)(values).item() == pytest.approx(mean(values).item())


def test_gradients_are_the_weights_of_the_losses():
    values = torch.tensor([1.0, 8.0, 4.0, 2.0], requires_grad=True)
    (weights,) = torch.autograd.grad(cvar(0.625)(values), values)
    torch.testing.assert_close(weights, torch.tensor([0, 1, 1, 0.5]) / 2.5)
    (weights,) = torch.autograd.grad(maximum(values), values)
    assert weights.tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.5, float("nan")])
def test_impossible_fractions_are_refused(alpha):
    with pytest.raises(ValueError, match="alpha must be above 0 and at most 1"):
        cvar(alpha)


def test_the_worst_group_is_the_one_of_largest_mean_not_of_largest_sum():
    values, group = torch.tensor([1.0, 1.0, 1.0, 2.0, 0.5]), torch.tensor([0, 0, 0, 2, 2])
    assert group_means(values, group, 4).tolist() == [1.0, -torch.inf, 1.25, -torch.inf]
    outputs = torch.stack([1 - values, torch.zeros(5)], 1)  # at the given distance to (1, 0)
    targets = torch.stack([torch.zeros(5, dtype=torch.int64), group], 1)
    assert worst_group(distances, 4)(outputs, targets).item() == 1.25


def test_an_infinite_loss_stays_in_its_group():
    values, group = torch.tensor([torch.inf, 1.0, 3.0]), torch.tensor([0, 1, 1])
    assert group_means(values, group, 2).tolist() == [torch.inf, 2.0]


def test_only_the_worst_group_is_learned_from():
    outputs = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels, group = torch.arange(6) % 3, torch.arange(6) % 2
    loss = worst_group(cross_entropies, 3)(outputs, torch.stack([labels, group], 1))
    means = [cross_entropies(outputs, labels)[group == g].mean() for g in (0, 1)]
    assert loss.item() == pytest.approx(max(means).item())
    (gradient,) = torch.autograd.grad(loss, outputs)
    worst = int(means[1] > means[0])
    assert gradient.isfinite().all()  # the third group is empty
    assert (gradient.abs().sum(1) > 0).tolist() == (group == worst).tolist()


def test_groups_come_with_the_labels():
    with pytest.raises(ValueError, match=r"targets must have shape \(m, 2\).*got \(6,\)"):
        worst_group(distances, 2)(torch.ones(6, 3), torch.zeros(6, dtype=torch.int64))


@pytest.mark.parametrize("aggregation", [mean, maximum, cvar(0.3)])
@pytest.mark.parametrize("name", PER_EXAMPLE)
def test_objectives_go_through_vmap(aggregation, name):
    loss, labels = objective(PER_EXAMPLE[name], aggregation), torch.arange(6) % 3
    stack = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0))
    alone = torch.stack([aggregation(PER_EXAMPLE[name](scores, labels)) for scores in stack])
    torch.testing.assert_close(vmap(lambda scores: loss(scores, labels))(stack), alone)


LABELS = torch.arange(6) % 3


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (objective(distances, maximum), LABELS),
        (objective(distances, cvar(0.4)), LABELS),
        (worst_group(distances, 2), torch.stack([LABELS, torch.arange(6) % 2], 1)),
    ],
)
def test_objectives_can_be_smoothed(loss, targets):
    generator = torch.Generator().manual_seed(0)
    model = relu_network(2, 4, 3, 2, generator=generator, dtype=torch.float64)[1]
    x = torch.randn(6, 4, dtype=torch.float64, generator=generator)
    value = loss(model(x), targets).item()

    def smoothed(sigma):
        return pprs.smooth(
            lambda: loss(model(x), targets), model, sigma, samples=8, antithetic=True, seed=0
        ).item()

    assert smoothed(0.0) == pytest.approx(value)
    # Each is convex in the linear model's parameters: no pair X, -X averages to less.
    assert smoothed(0.5) > value
