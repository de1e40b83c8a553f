import pytest
import torch

from pprs_experiments.study.tasks.objective import named_objective
from pprs_experiments.tasks.losses import PER_EXAMPLE

OUTPUTS = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 2])


@pytest.mark.parametrize("loss", PER_EXAMPLE)
@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("mean", lambda losses: losses.mean()),
        ("maximum", lambda losses: losses.max()),
        ("cvar", lambda losses: losses.sort().values[-2:].mean()),
        ("worst group", lambda losses: max(losses[label == LABELS].mean() for label in range(3))),
    ],
)
def test_an_objective_is_what_its_name_says_of_the_losses(name, made, loss):
    expected = made(PER_EXAMPLE[loss](OUTPUTS, LABELS))
    torch.testing.assert_close(named_objective(name, loss, 3)(OUTPUTS, LABELS), expected)


def test_other_names_are_refused():
    with pytest.raises(ValueError, match="objective must be one of .*worst group, got 'median'"):
        named_objective("median", "l1", 3)
    with pytest.raises(ValueError, match="loss must be one of hinge, .*, got 'l2'"):
        named_objective("mean", "l2", 3)
