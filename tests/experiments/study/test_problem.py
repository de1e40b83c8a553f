import dataclasses

import pytest
import torch

from experiments.study.small import DEPTH, EXAMPLES, network_problem
from pprs_experiments.study.cost import Cost
from pprs_experiments.study.problem import Adversary, drawing


def test_draws_of_one_name_do_not_depend_on_those_of_another():
    first, again = drawing(3, "weights"), drawing(3, "weights")
    torch.rand(5, generator=drawing(3, "examples"))
    assert torch.rand(5, generator=first).equal(torch.rand(5, generator=again))


@pytest.mark.parametrize("other", [(4, "weights"), (3, "examples"), (3, "weights", 1)])
def test_draws_differ_by_seed_and_by_every_name(other):
    drawn = torch.rand(5, generator=drawing(3, "weights"))
    assert not drawn.equal(torch.rand(5, generator=drawing(*other)))


def test_examples_are_chosen_by_their_numbers():
    problem = network_problem()
    x, y = problem.chosen(torch.tensor([4, 0]))
    assert x.equal(problem.batch[0][[4, 0]])
    assert y.equal(problem.batch[1][[4, 0]])


def test_without_an_adversary_a_batch_stays_as_it_is():
    problem = network_problem()
    assert problem.attacked(problem.batch, drawing(0, "attack")) is problem.batch


@pytest.mark.parametrize(
    ("examples", "divisible", "batch"),
    [
        (EXAMPLES + 1, True, ...),
        (EXAMPLES + 1, False, ...),
        (EXAMPLES, True, ()),
        (EXAMPLES, True, (torch.zeros(EXAMPLES), torch.zeros(EXAMPLES - 1))),
    ],
)
def test_a_batch_that_does_not_fit_the_cost_is_refused(examples, divisible, batch):
    changes = {} if batch is ... else {"batch": batch}
    with pytest.raises(ValueError, match=f"batch must hold tensors of the {examples} examples"):
        network_problem(cost=Cost(DEPTH, examples, divisible), **changes)


def test_a_loss_without_a_batch_is_possible_where_nothing_can_be_divided():
    problem = network_problem(cost=Cost(DEPTH, 1, divisible=False), batch=(), loss=lambda: None)
    assert dataclasses.astuple(problem.price()) == (2 * DEPTH, 1)


def test_an_adversary_that_takes_no_steps_is_refused():
    with pytest.raises(ValueError, match="steps must be an integer of at least 1, got 0"):
        Adversary(lambda batch, generator: batch, steps=0)


def test_two_metrics_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"final_metrics must have other names .* \['double'\]"):
        network_problem(final_metrics={"double": lambda: 0.0, "other": lambda: 0.0})
