import pytest

from experiments.study.small import DEPTH, EXAMPLES, network_problem, weights
from pprs_experiments.study.cost import Cost
from pprs_experiments.study.methods import METHODS, Choice, LogUniform


def test_a_stepper_counts_its_steps():
    stepper = METHODS["gd"].stepper(network_problem(), {"lr": 0.1}, seed=0)
    for _ in range(3):
        stepper.step(0.0)
    assert stepper.taken == 3


def test_evaluating_shows_the_result_and_puts_back_where_the_gradient_is_taken():
    problem = network_problem()
    stepper = METHODS["agd"].stepper(problem, {"lr": 0.1, "momentum": 0.9}, seed=0)
    for _ in range(3):
        stepper.step(0.0)
    before = weights(problem)
    with stepper.evaluating():
        inside = weights(problem)
    assert not inside.equal(before)
    assert weights(problem).equal(before)


@pytest.mark.parametrize("given", [{}, {"lr": 0.1, "momentum": 0.9}, {"sigma": 0.1}])
def test_hyperparameters_of_other_names_are_refused(given):
    with pytest.raises(ValueError, match=r"hyperparameters of gd must be \['lr'\], got"):
        METHODS["gd"].stepper(network_problem(), given, seed=0)


@pytest.mark.parametrize("name", ["sgd", "lpf-sgd", "pprs-example", "pipedream-minibatch"])
def test_methods_that_divide_the_batch_refuse_a_loss_that_is_not_a_mean(name):
    problem = network_problem(cost=Cost(DEPTH, EXAMPLES, divisible=False))
    method = METHODS[name]
    with pytest.raises(ValueError, match=f"{name} takes the loss of parts of the batch"):
        method.stepper(problem, dict.fromkeys(method.space, 0.1), seed=0)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0)])
def test_a_range_that_is_empty_or_reaches_0_is_refused(low, high):
    with pytest.raises(ValueError, match="low must be a finite number above 0|high must be above"):
        LogUniform(low, high)


def test_a_choice_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one value"):
        Choice(())
