import dataclasses
from itertools import chain

import pytest
import torch

from experiments.study.small import DEPTH, EXAMPLES, gradient, network_problem
from pprs.smoothing import Noise, Perturbation, repeat, smooth
from pprs_experiments.study.cost import Cost, Price
from pprs_experiments.study.methods.gradients import LowPass, Minibatch, Plain, Sharpened, Smoothed
from pprs_experiments.study.problem import Adversary


def taken(estimate, step=0, progress=0.0):
    """The estimate and the loss that it met."""
    loss = estimate.take(step, progress)
    return [p.grad for p in estimate.problem.model.parameters()], loss


def equal(first, second, **tolerance):
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, **(tolerance or dict(rtol=0, atol=0)))


def indexed():
    """A problem whose loss notes which examples it meets."""
    met = []
    problem = network_problem()
    loss = problem.loss

    def noting(x, y):
        met.append([(problem.batch[0] == row).all(1).nonzero().item() for row in x])
        return loss(x, y)

    return dataclasses.replace(problem, loss=noting), met


def test_a_plain_gradient_is_that_of_all_examples():
    problem = network_problem()
    found, loss = taken(Plain(problem, seed=1))
    equal(found, gradient(problem))
    assert loss.item() == problem.training_loss()


def test_estimates_do_not_add_up():
    estimate = Plain(network_problem(), seed=1)
    first = [found.clone() for found in taken(estimate)[0]]
    equal(taken(estimate, step=1)[0], first)


def test_minibatches_meet_every_example_once_in_an_epoch_and_each_epoch_in_another_order():
    problem, met = indexed()
    estimate = Minibatch(problem, seed=1, part=1 / 4)
    for step in range(8):
        estimate.take(step, 0.0)
    assert [len(batch) for batch in met] == [3] * 8
    first, second = list(chain(*met[:4])), list(chain(*met[4:]))
    assert sorted(first) == sorted(second) == list(range(EXAMPLES))
    assert first != second


def test_a_minibatch_has_its_own_gradient():
    problem, met = indexed()
    found, _ = taken(Minibatch(problem, seed=1, part=1 / 4), step=2)
    equal(found, gradient(network_problem(), problem.chosen(torch.tensor(met[0]))))


def test_the_smallest_minibatch_is_one_example_and_the_largest_all_in_their_order():
    problem, met = indexed()
    Minibatch(problem, seed=1, part=1e-9).take(0, 0.0)
    Minibatch(problem, seed=1, part=1.0).take(0, 0.0)
    assert len(met[0]) == 1
    assert met[1] == list(range(EXAMPLES))


@pytest.mark.parametrize("part", [0.0, -1.0, 1.5, float("nan")])
def test_a_part_out_of_range_is_refused(part):
    with pytest.raises(ValueError, match="batch is a part of the examples: above 0 up to 1, got"):
        Minibatch(network_problem(), seed=1, part=part)


def test_sharpened_is_the_gradient_one_step_up_the_slope():
    problem = network_problem()
    found, loss = taken(Sharpened(problem, seed=1, rho=0.3))
    above = network_problem()
    uphill = gradient(above)
    length = sum(g.square().sum() for g in uphill).sqrt()
    with torch.no_grad():
        for parameter, g in zip(above.model.parameters(), uphill, strict=True):
            parameter.add_(0.3 * g / length)
    equal(found, gradient(above), rtol=1e-5, atol=1e-6)
    assert loss.item() == problem.training_loss() == network_problem().training_loss()
    plain = gradient(problem)
    assert any(not torch.allclose(a, b) for a, b in zip(found, plain, strict=True))


def test_sharpened_leaves_the_parameters_after_an_error():
    problem = network_problem()
    calls = []

    def failing(x, y):
        calls.append(1)
        if len(calls) == 2:
            raise KeyError("second")
        return problem.loss(x, y)

    estimate = Sharpened(dataclasses.replace(problem, loss=failing), seed=1, rho=0.3)
    with pytest.raises(KeyError):
        estimate.take(0, 0.0)
    equal(problem.model.parameters(), network_problem().model.parameters())


@pytest.mark.parametrize("parts", [1, 4, 5, 12])
def test_low_pass_is_the_mean_over_parts_of_the_batch_each_at_its_own_perturbation(parts):
    problem, met = indexed()
    found, loss = taken(LowPass(problem, seed=3, sigma=0.2, parts=parts), step=2)
    assert len(met) == parts
    assert sorted(chain(*met)) == list(range(EXAMPLES))
    literal = network_problem()
    parameters = dict(literal.model.named_parameters())
    law = Perturbation(0.2, 1, scale="filter")
    expected = [torch.zeros_like(p) for p in parameters.values()]
    total = 0.0
    for number, part in enumerate(met):
        batch = literal.chosen(torch.tensor(part))
        noise = Noise(3, 2, microbatch=number)
        losses = repeat(literal.loss, parameters, law, law.sigmas(parameters, 2), noise, batch)
        total += len(part) / EXAMPLES * losses.item()
        for sum_, parameter in zip(expected, parameters.values(), strict=True):
            sum_.add_(len(part) / EXAMPLES * parameter.grad)
    equal(found, expected, rtol=1e-5, atol=1e-6)
    assert loss.item() == pytest.approx(total, rel=1e-5)
    equal(problem.model.parameters(), literal.model.parameters())


def test_low_pass_splits_at_most_into_single_examples_and_anew_each_step():
    problem, met = indexed()
    estimate = LowPass(problem, seed=3, sigma=0.2, parts=100)
    for step in range(2):
        estimate.take(step, 0.0)
    assert [len(part) for part in met] == [1] * 24
    assert met[:12] != met[12:]


@pytest.mark.parametrize(
    "law",
    [
        Perturbation(0.1, 4),
        Perturbation(0.1, 4, noise="example"),
        Perturbation(0.1, 4, antithetic=True),
        Perturbation(0.1, 1, scale="filter"),
    ],
)
def test_smoothed_is_the_gradient_of_the_smoothed_loss(law):
    problem, other = network_problem(), network_problem()
    found, loss = taken(Smoothed(problem, 5, law), step=3)
    settings = dict(noise=law.noise, antithetic=law.antithetic, scale=law.scale)
    expected = smooth(
        other.loss, other.model, 0.1, law.samples, batch=other.batch, seed=5, step=3, **settings
    )
    expected.backward()
    equal(found, [p.grad for p in other.model.parameters()])
    assert loss.item() == expected.item()


def test_the_schedule_multiplies_sigma():
    problem, other = network_problem(), network_problem()
    estimate = Smoothed(problem, 5, Perturbation(0.4, 4), lambda progress: 1 - progress)
    equal(taken(estimate, 0, 0.75)[0], taken(Smoothed(other, 5, Perturbation(0.1, 4)))[0])


# With 12 examples, a depth of 3 and no cost to start a pass, K passes of n rows in n pieces take
# 2 (K n + 2) / 12.
@pytest.mark.parametrize(
    ("build", "price"),
    [
        (lambda p: Plain(p, 0), Price(28 / 12, 1.0)),
        (lambda p: Minibatch(p, 0, 1 / 4), Price(10 / 12, 0.25)),
        (lambda p: Sharpened(p, 0, 0.1), Price(56 / 12, 2.0)),
        (lambda p: LowPass(p, 0, 0.1, parts=4), Price(28 / 12, 1.0)),
        (lambda p: Smoothed(p, 0, Perturbation(0.1, 8)), Price(196 / 12, 8.0)),
    ],
)
def test_prices_are_those_counted_by_hand(build, price):
    problem = network_problem()
    found = build(problem).price
    assert found.time == pytest.approx(price.time)
    assert found.evaluations == pytest.approx(price.evaluations)


def test_low_pass_without_microbatches_pays_for_every_part_as_a_pass():
    cost = Cost(DEPTH, EXAMPLES, divisible=False, overhead=12.0)
    problem = network_problem(cost=cost)
    # Four passes of 3 rows at (12 + 3) / (12 + 12) each way.
    assert LowPass(problem, 0, 0.1, parts=4).price == Price(2 * (4 + 2) * 15 / 24, 1.0)


@pytest.mark.parametrize(
    ("build", "plain"),
    [
        (lambda p: Plain(p, 0), Price(28 / 12, 1.0)),
        (lambda p: Minibatch(p, 0, 1 / 4), Price(10 / 12, 0.25)),
        (lambda p: Sharpened(p, 0, 0.1), Price(28 / 12, 1.0)),
        (lambda p: LowPass(p, 0, 0.1, parts=4), Price(28 / 12, 1.0)),
        (lambda p: Smoothed(p, 0, Perturbation(0.1, 8)), Price(28 / 12, 1.0)),
    ],
)
def test_an_adversary_is_paid_for_once_a_step_and_each_of_its_steps_in_turn(build, plain):
    adversary = Adversary(lambda batch, generator: batch, steps=7)
    bare, attacked = build(network_problem()), build(network_problem(adversary=adversary))
    added = attacked.price.time - bare.price.time
    assert added == pytest.approx(7 * plain.time)
    assert attacked.price.evaluations == pytest.approx(
        bare.price.evaluations + 7 * plain.evaluations
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda p: Plain(p, 0),
        lambda p: Minibatch(p, 0, 1 / 4),
        lambda p: Sharpened(p, 0, 0.1),
        lambda p: LowPass(p, 0, 0.1, parts=4),
        lambda p: Smoothed(p, 0, Perturbation(0.1, 8)),
        lambda p: Smoothed(p, 0, Perturbation(0.1, 2, noise="example")),
    ],
)
def test_the_adversary_acts_once_a_step_at_the_model_as_it_is(build):
    seen = []
    problem = network_problem()
    start = [p.detach().clone() for p in problem.model.parameters()]

    def attack(batch, generator):
        equal(problem.model.parameters(), start)
        seen.append(torch.rand(1, generator=generator).item())
        return batch[0] + 100, batch[1]

    estimate = build(dataclasses.replace(problem, adversary=Adversary(attack, steps=1)))
    found, _ = taken(estimate)
    assert len(seen) == 1
    other = network_problem()
    shifted = dataclasses.replace(other, batch=(other.batch[0] + 100, other.batch[1]))
    equal(found, taken(build(shifted))[0])
    estimate.take(1, 0.0)
    estimate.take(1, 0.0)
    assert seen[0] != seen[1] == seen[2]  # drawn by the number of the step
