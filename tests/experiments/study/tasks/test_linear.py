import numpy as np
import pytest
import torch

from experiments.study.tasks.drawn import write_mushrooms
from pprs_experiments.study.tasks.linear import MaximumOfLinearTask, RegressionTask


@pytest.mark.parametrize("aggregate", ["mean", "maximum"])
def test_regression_is_of_the_deviations_from_labels_of_1_and_minus_1(tmp_path, aggregate):
    task = RegressionTask(
        data="mushrooms", examples=30, features=20, aggregate=aggregate, l1=0.01, l2=0.2, depth=4
    )
    folder = write_mushrooms(tmp_path)
    problem, examples = task.problem(2, folder), task.drawn(2, folder)
    theta = torch.randn(20, generator=torch.Generator().manual_seed(0)).double()
    labels = torch.where(examples.y == 1, 1, -1)
    assert set(labels.tolist()) == {-1, 1}
    deviations = (examples.x @ theta - labels).abs()
    expected = deviations.mean() if aggregate == "mean" else deviations.max()
    expected += 0.01 * theta.abs().sum() + 0.1 * theta.square().sum()
    function = task.function(2, folder)
    with torch.no_grad():  # the problem has its own units: f(Rθ) / (RL)
        problem.model.theta.copy_(theta / function.radius)
        found = problem.training_loss() * function.radius * function.lipschitz
    assert found == pytest.approx(expected.item())
    assert (problem.model.radius, problem.model.lipschitz) == pytest.approx((1, 1))
    assert problem.cost.divisible == (aggregate == "mean")


# Few functions in many dimensions: without its mean taken off, none of these would have a minimum.
@pytest.mark.parametrize(("functions", "dimension"), [(2, 1), (3, 50), (200, 50)])
def test_linear_functions_have_a_least_value_and_slopes_of_length_1(functions, dimension):
    task = MaximumOfLinearTask(functions=functions, dimension=dimension, depth=4)
    for seed in range(5):
        function = task.function(seed, None)
        slopes = function.matrix.numpy()
        assert slopes.shape == (functions, dimension)
        assert np.abs(slopes.mean(0)).max() < 1e-12
        # A mean of values of the functions is below their maximum, everywhere.
        assert function.minimum >= function.offsets.mean().item() - 1e-9
    assert (slopes**2).sum(1).mean() == pytest.approx(1 - 1 / functions, rel=0.9)
    if functions == 200:
        assert (slopes**2).sum(1).mean() == pytest.approx(1, rel=0.05)


def test_a_maximum_is_not_divided():
    problem = MaximumOfLinearTask(functions=20, dimension=5, depth=4).problem(0, None)
    assert not problem.cost.divisible
    assert problem.price(samples=3).time == 2 * (3 + 3)
