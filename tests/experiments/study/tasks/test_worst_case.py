import pytest
import torch

from pprs.theory import NonSmooth
from pprs_experiments.study.tasks.worst_case import WorstCaseTask


def test_it_is_the_function_of_the_theory_for_every_seed():
    function = NonSmooth(1.0, 1.0, 2, 9)
    theta = torch.randn(14, generator=torch.Generator().manual_seed(0)).double()
    for seed in range(2):
        problem = WorstCaseTask(pairs=2, coordinates=9, depth=5).problem(seed, None)
        assert problem.metrics["gap"]() == pytest.approx(-function.minimum)
        with torch.no_grad():
            problem.model.theta.copy_(theta)
        assert problem.training_loss() == pytest.approx(float(function.value(theta.numpy())))
        assert not problem.cost.divisible
