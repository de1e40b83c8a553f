"""What fails without noise, too, is told in the words of a plain pass, which leaves no trace."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pprs

X = torch.ones(5, 3)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def test_what_fails_without_noise_too_has_the_words_of_a_plain_pass_beside_it():
    """Under vmap torch speaks of shapes that nobody wrote."""
    model, labels = net(), torch.tensor([0, 9])
    wide, rows = torch.ones(2, X.shape[1] + 1), X[:2]
    closures = [
        lambda: model(wide).sum(),
        lambda: model(rows.double()).sum(),
        lambda: F.cross_entropy(model(rows), labels),
    ]
    for closure in closures:
        with pytest.raises((RuntimeError, IndexError)) as plain:
            closure()
        with pytest.raises(type(plain.value)) as smoothed:
            pprs.smooth(closure, model, 0.1, 2)
        said = f"without noise, too, with {type(plain.value).__name__}: {plain.value}"
        assert said in smoothed.value.__notes__[0]


def test_a_plain_pass_that_tells_of_an_error_changes_nothing():
    model, calls = net(), []
    before = [p.grad for p in model.parameters()]

    def closure():
        calls.append(len(calls))
        model.seen = len(calls)
        loss = model(X).sum()
        loss.backward()
        return loss

    with pytest.raises(RuntimeError, match=r"calls backward\(\).*on the smoothed loss"):
        pprs.smooth(closure, model, 0.1, 2)
    assert calls == [0]  # by the smoothed pass
    assert not hasattr(model, "seen")
    assert [p.grad for p in model.parameters()] == before
