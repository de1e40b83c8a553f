import pytest
import torch

from experiments.study.tasks.drawn import write_mushrooms
from pprs_experiments.study.tasks.svm import SvmTask


@pytest.mark.parametrize(
    ("aggregate", "weights"),
    [("mean", {}), ("maximum", {"l1": 0.01}), ("mean", {"l1": 0.02, "l2": 0.3})],
)
def test_the_function_is_of_the_hinges_of_the_drawn_examples(tmp_path, aggregate, weights):
    task = SvmTask(
        data="mushrooms", examples=30, features=20, aggregate=aggregate, depth=4, **weights
    )
    folder = write_mushrooms(tmp_path)
    problem, examples = task.problem(2, folder), task.drawn(2, folder)
    theta = torch.randn(20, generator=torch.Generator().manual_seed(0)).double()
    hinges = (1 - torch.where(examples.y == 1, 1, -1) * (examples.x @ theta)).clamp(0)
    expected = hinges.mean() if aggregate == "mean" else hinges.max()
    expected += weights.get("l1", 0) * theta.abs().sum()
    expected += weights.get("l2", 0) / 2 * theta.square().sum()
    function = task.function(2, folder)
    with torch.no_grad():  # the problem has its own units: f(Rθ) / (RL)
        problem.model.theta.copy_(theta / function.radius)
        found = problem.training_loss() * function.radius * function.lipschitz
    assert found == pytest.approx(expected.item())
    assert (problem.model.radius, problem.model.lipschitz) == pytest.approx((1, 1))
    assert problem.cost.divisible == (aggregate == "mean")
