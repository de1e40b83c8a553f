"""What a closure keeps of a pass is what the last perturbation would have left, or refused."""

# Functions have attributes here.
# mypy: disable-error-code="attr-defined"

import pytest
import torch
from smoothing.side_effects import Net, X, run, usable
from torch import nn

import pprs


class Centred(nn.Module):
    """A loss with a buffer and an attribute."""

    def __init__(self):
        super().__init__()
        self.register_buffer("centre", torch.zeros(3).double())
        self.last = None

    def forward(self, out):
        self.last = out
        if self.training:
            self.centre = 0.9 * self.centre + 0.1 * out.detach().mean(0)
        return (out - self.centre).square().mean()


class Trainer:
    """Whose method is the closure; it keeps all that people keep."""

    def __init__(self):
        self.model, self.x, self.loss = Net(lambda net, out: None), X, None
        self.losses, self.calls, self.kept = [], 0, {"x": X, "out": None}

    def closure(self):
        self.calls += 1
        self.kept["out"] = out = self.model(self.kept["x"])
        self.loss = out.square().mean()
        self.losses.append(self.loss.detach())
        return self.loss


def test_what_a_closure_keeps_is_that_of_the_last_perturbation():
    trainer, out = Trainer(), None

    def enclosed():
        nonlocal out
        out = trainer.model(X)
        return out.square().mean()

    for _ in range(2):
        pprs.smooth(trainer.closure, trainer.model, 1e-9, 3)
        pprs.smooth(enclosed, trainer.model, 1e-9, 3)
    plain = trainer.model(X)
    assert trainer.calls == len(trainer.losses) == 2
    for kept in (out, trainer.kept["out"]):
        torch.testing.assert_close(kept, plain)
    for kept in (trainer.loss, *trainer.losses):
        assert kept.item() == pytest.approx(plain.square().mean().item())


def test_what_a_closure_carries_from_pass_to_pass_is_refused():
    model, average, log = Net(lambda net, out: None), torch.ones(()).double(), []

    def closure():
        nonlocal average
        log.append("called")
        loss = model(X).square().mean()
        average = 0.5 * average + 0.5 * loss.detach()
        return loss / average

    with pytest.raises(RuntimeError, match="variable 'average' is set from perturbed values"):
        pprs.smooth(closure, model, 0.1, 3)
    assert average.item() == 1
    assert log == ["called"]


def test_attributes_of_functions_and_classes_are_looked_after():
    class Totals:
        average = torch.ones(()).double()
        calls = 0

    def tracked(loss):
        tracked.last = loss
        Totals.calls += 1
        return loss

    def carried():
        loss = tracked(model(X).square().mean())
        Totals.average = 0.5 * Totals.average + 0.5 * loss.detach()
        return loss / Totals.average

    tracked.last = None
    model = Net(lambda net, out: None)
    with pytest.raises(RuntimeError, match="variable 'average' is set from perturbed values"):
        pprs.smooth(carried, model, 0.1, 3)
    assert Totals.average.item() == 1
    assert tracked.last is None
    loss = pprs.smooth(lambda: tracked(model(X).square().mean()), model, 1e-9, 3)
    assert tracked.last.item() == pytest.approx(loss.item())
    assert Totals.calls == 2


def test_modules_beside_the_model_are_looked_after():
    model, loss = Net(lambda net, out: None), Centred()
    before = loss.centre
    with pytest.raises(RuntimeError, match="buffer 'loss.centre' is set from perturbed values"):
        pprs.smooth(lambda: loss(model(X)), model, 0.1, 3)
    assert loss.centre is before
    assert loss.last is None
    loss.eval()
    pprs.smooth(lambda: loss(model(X)), model, 1e-9, 3)
    torch.testing.assert_close(loss.last, model(X))


def test_what_forward_hooks_keep_is_that_of_the_last_perturbation():
    model, kept = Net(lambda net, out: None), []
    model.linear.register_forward_hook(lambda module, inputs, out: kept.append(out))
    run(model)
    assert usable(model)
    assert kept[0].isfinite().all().item()
