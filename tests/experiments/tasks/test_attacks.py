from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pprs.training.losses import hinge
from pprs_experiments.tasks.attacks import pgd
from pprs_experiments.tasks.few_shot import few_shot
from pprs_experiments.tasks.images.source import read_images
from pprs_experiments.tasks.losses import PER_EXAMPLE
from pprs_experiments.tasks.networks import convolutional_network
from pprs_experiments.tasks.objectives import maximum, objective

FREE = (-float("inf"), float("inf"))
CONVEX = pytest.mark.parametrize("loss", [F.cross_entropy, hinge], ids=["cross-entropy", "hinge"])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def uniform(*shape, seed=0):
    return torch.rand(shape, dtype=torch.float64, generator=generator(seed))


def linear(features, classes, seed=1):
    model = nn.Linear(features, classes, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(uniform(classes, features, seed=seed) - 0.5)
        model.bias.copy_(uniform(classes, seed=seed + 1) - 0.5)
    return model


def network():
    return convolutional_network((1, 8, 8), 4, 10, 3, generator=generator(), dtype=torch.float64)


@CONVEX
@pytest.mark.parametrize("start", [None, 0], ids=["from x", "from a random start"])
def test_of_two_classes_and_a_linear_model_the_best_attack_is_found(loss, start):
    # The loss grows with the difference of the scores: every pixel goes to the end of its range.
    model, x, y = linear(6, 2), uniform(8, 6), torch.arange(8) % 2
    towards = (model.weight[1 - y] - model.weight[y]).sign()
    best = (x + 0.3 * towards).clamp(0, 1)
    start = None if start is None else generator(start)
    found = pgd(model, loss, x, y, epsilon=0.3, steps=20, bounds=(0, 1), generator=start)
    torch.testing.assert_close(found, best.detach())


def test_without_bounds_the_loss_rises_by_epsilon_times_the_dual_norm():
    model, x = linear(6, 2), uniform(1, 6)
    y = torch.tensor([0])
    found = pgd(model, hinge, x, y, epsilon=0.01, steps=4, bounds=FREE)
    rise = hinge(model(found), y) - hinge(model(x), y)
    slope = (model.weight[1] - model.weight[0]).abs().sum() / 2  # the hinge is a mean over classes
    torch.testing.assert_close(rise, 0.01 * slope)


@CONVEX
@pytest.mark.parametrize("seed", range(5))
def test_more_steps_do_not_lower_a_loss_that_is_convex_in_the_inputs(loss, seed):
    model, x, y = linear(6, 4, seed=10 + seed), uniform(8, 6, seed=seed), torch.arange(8) % 4
    values = [
        loss(
            model(
                pgd(
                    model,
                    loss,
                    x,
                    y,
                    epsilon=0.4,
                    steps=steps,
                    step=0.1,
                    bounds=(0, 1),
                    generator=generator(seed),
                )
            ),
            y,
        ).item()
        for steps in range(1, 30)
    ]
    assert values[-1] > values[0]
    assert all(b >= a - 1e-12 for a, b in pairwise(values))


@pytest.mark.parametrize("start", [None, 0], ids=["from x", "from a random start"])
def test_no_input_leaves_the_ball_or_the_bounds(start):
    x, y = uniform(20, 1, 8, 8), torch.arange(20) % 10
    found = pgd(
        network(),
        F.cross_entropy,
        x,
        y,
        epsilon=0.1,
        steps=5,
        step=0.7,
        bounds=(0, 1),
        generator=None if start is None else generator(start),
    )
    # Exactly, with x - epsilon and x + epsilon as the machine has them.
    assert torch.equal(found, found.clamp(x - 0.1, x + 0.1).clamp(0, 1))
    assert ((found == x - 0.1) | (found == x + 0.1)).float().mean() > 0.3
    assert ((found == 0) | (found == 1)).any()


def test_standardised_images_keep_to_the_range_of_pixels_and_a_radius_for_every_channel():
    task = few_shot(read_images("digits"), 2, 1, generator(), torch.float64, test=30)
    x, y = task.test.x, task.test.y
    found = pgd(
        network(),
        F.cross_entropy,
        x,
        y,
        epsilon=task.scale.radius(0.1),
        steps=5,
        bounds=task.scale.bounds,
        generator=generator(),
    )
    pixels, before = (z * task.scale.deviation + task.scale.mean for z in (found, x))
    assert -1e-12 < pixels.min() < 1e-12
    assert 1 - 1e-12 < pixels.max() < 1 + 1e-12
    assert (pixels - before).abs().max().item() == pytest.approx(0.1)


def test_the_attack_on_a_network_raises_the_loss_and_beats_random_changes():
    model, x, y = network(), uniform(20, 1, 8, 8), torch.arange(20) % 10
    found = pgd(model, F.cross_entropy, x, y, epsilon=0.05, steps=10, bounds=(0, 1))
    random = (x + 0.05 * (2 * uniform(20, 1, 8, 8, seed=5) - 1).sign()).clamp(0, 1)
    before, by_chance, attacked = (F.cross_entropy(model(z), y) for z in (x, random, found))
    assert attacked - before > 3 * (by_chance - before).abs()


def test_any_loss_is_attacked_the_largest_of_several_too():
    model, x, y = linear(6, 4), uniform(8, 6), torch.arange(8) % 4
    worst = objective(PER_EXAMPLE["l1"], maximum)
    found = pgd(model, worst, x, y, epsilon=0.1, steps=3, bounds=FREE)
    changed = (found != x).any(1)
    assert worst(model(found), y) > worst(model(x), y)
    assert 1 <= changed.sum() < 8  # where the loss does not depend on an input, it stays


class Recorder(nn.Module):
    """Remembers in which mode it ran; BatchNorm would change what it remembers in training."""

    def __init__(self):
        super().__init__()
        self.norm, self.dropout = nn.BatchNorm1d(6), nn.Dropout()
        self.last = linear(6, 4)
        self.double()
        self.modes = set()

    def forward(self, x):
        self.modes.add((self.training, self.norm.training, self.dropout.training))
        return self.last(self.dropout(self.norm(x)))


def test_gradients_modes_and_statistics_of_the_model_stay():
    model, x, y = Recorder(), uniform(8, 6), torch.arange(8) % 4
    model.dropout.eval()  # not as the others
    model.last.weight.grad = torch.ones(4, 6, dtype=torch.float64)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():  # as in an evaluation
        found = pgd(model, F.cross_entropy, x, y, epsilon=0.1, steps=3, bounds=(0, 1))
    assert model.modes == {(False, False, False)}
    assert (model.training, model.norm.training, model.dropout.training) == (True, True, False)
    assert torch.equal(model.last.weight.grad, torch.ones(4, 6, dtype=torch.float64))
    assert model.last.bias.grad is None
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())
    assert not x.requires_grad
    assert not found.requires_grad


def test_modes_come_back_after_an_error():
    model = Recorder()
    with pytest.raises(RuntimeError):
        pgd(model, F.cross_entropy, uniform(8, 5), torch.arange(8), epsilon=1, steps=1, bounds=FREE)
    assert model.training
    assert model.norm.training


def test_the_generator_alone_draws_the_start():
    model, x, y = network(), uniform(4, 1, 8, 8), torch.arange(4)
    before = torch.get_rng_state()
    found = [
        pgd(
            model,
            F.cross_entropy,
            x,
            y,
            epsilon=0.1,
            steps=1,
            step=0.01,
            bounds=FREE,
            generator=generator(seed),
        )
        for seed in (0, 0, 1)
    ]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    offsets = found[0] - x
    assert offsets.min() < -0.08
    assert offsets.max() > 0.08


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (dict(epsilon=-0.1), "epsilon must be finite and at least 0, got -0.1"),
        (dict(epsilon=float("nan")), "epsilon must be finite and at least 0, got nan"),
        (dict(steps=0), "steps must be an integer of at least 1, got 0"),
        (dict(step=0), "step must be a finite number above 0, got 0"),
        (dict(bounds=(0.5, 1)), r"x must lie within the bounds, \[0.5\] to \[1.0\], got inputs"),
    ],
)
def test_what_cannot_be_attacked_is_refused(changes, says):
    options = dict(epsilon=0.1, steps=1, step=0.25, bounds=(0, 1)) | changes
    with pytest.raises(ValueError, match=says):
        pgd(linear(6, 2), hinge, uniform(8, 6), torch.arange(8) % 2, **options)


def test_an_independent_implementation_finds_the_same_inputs():
    torchattacks = pytest.importorskip("torchattacks")
    model, x, y = network(), uniform(20, 1, 8, 8), torch.arange(20) % 10
    theirs = torchattacks.PGD(model, eps=0.1, alpha=0.02, steps=10, random_start=False)(x, y)
    ours = pgd(model, F.cross_entropy, x, y, epsilon=0.1, steps=10, step=0.2, bounds=(0, 1))
    torch.testing.assert_close(ours, theirs)
