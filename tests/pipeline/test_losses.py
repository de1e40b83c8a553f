"""Losses that keep something, give no number, or compute in a type of their own."""

import copy

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from pprs.pipeline import Pipeline

X, Y = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 4


@pytest.fixture(scope="module", autouse=True)
def alone():
    """A process group of this process only."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 4))


def pipeline(model, loss, **options):
    both = dict(schedule="looped-bfs", split="examples", microbatches=2, seed=0)
    return Pipeline(model, loss, **both | options)


class Remembering(nn.Module):
    """Its mean so far, in a buffer that it changes or replaces, and all values."""

    def __init__(self, replacing):
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.replacing, self.calls, self.values = replacing, 0, []

    def forward(self, outputs, targets):
        loss = F.cross_entropy(outputs, targets)
        now = 0.9 * self.mean + 0.1 * loss.detach()
        self.mean = now if self.replacing else self.mean.copy_(now)
        self.calls += 1
        self.values.append(loss.item())
        return loss


@pytest.mark.parametrize("replacing", [False, True])
def test_a_loss_keeps_what_its_microbatches_leave_and_nothing_else(replacing):
    model, loss, plain = network(), Remembering(replacing), Remembering(replacing)
    right, seen, total = copy.deepcopy(model), [], 0.0

    def function(outputs, targets):
        nonlocal total
        value = loss(outputs, targets)
        total += value.item()
        seen.append(value.item())
        return value

    pipe = pipeline(model, function)
    for rows in (8, 4, 8):  # of other labels, too, with which the loss is tried
        targets = LABELS.roll(rows // 4).sort().values[:rows]
        pipe.step(X[:rows], targets)
        for x, y in zip(X[:rows].chunk(2), targets.chunk(2), strict=True):
            plain(right(x), y)
    torch.testing.assert_close(loss.mean, plain.mean)
    assert loss.calls == plain.calls == 6
    assert loss.values == pytest.approx(plain.values)
    assert seen == pytest.approx(plain.values)
    assert total == pytest.approx(sum(plain.values))


@pytest.mark.parametrize(
    ("replacing", "said"),
    [(True, "buffer 'mean' is set from perturbed"), (False, "buffer 'mean', which all perturb")],
)
def test_a_loss_cannot_go_on_from_perturbations_that_run_together(replacing, said):
    class Quiet(Remembering):
        def forward(self, outputs, targets):
            now = 0.9 * self.mean + 0.1 * outputs.detach().mean()
            self.mean = now if self.replacing else self.mean.copy_(now)
            return F.cross_entropy(outputs, targets)

    loss = Quiet(replacing)
    pipe = pipeline(network(), loss, split="perturbations", samples=4, sigma=0.1)
    with pytest.raises(RuntimeError, match=said):
        pipe.step(X, LABELS)
    assert loss.mean == 0


@pytest.mark.parametrize("samples", [1, 4])
def test_a_loss_that_is_no_number_is_refused(samples):
    options = dict(split="perturbations", samples=samples, microbatches=1, check=False)
    with pytest.raises(RuntimeError, match=r"scalar loss, got a tensor of shape \(8, 4\)"):
        pipeline(network(), lambda o, y: (o - y).square(), **options).step(X, Y)


@pytest.mark.parametrize("dropping", [False, True])
def test_a_loss_of_a_coarser_type_than_the_model_is_no_difference(dropping):
    def loss(outputs, targets):
        return F.mse_loss(outputs.float(), targets.float())

    model = nn.Sequential(*network(), nn.Dropout(0.5 * dropping)).double()
    for number in range(4):
        pipe = pipeline(model, loss)
        pipe.step((X + number).double(), Y.double())
        assert "equal to" in pipe.checked


def test_a_loss_that_is_no_mean_is_named_with_a_layer_that_has_thawed_too():
    model = network()
    model[2].requires_grad_(False)
    pipe = pipeline(model, lambda o, y: F.mse_loss(o, y, reduction="sum"))
    model[2].requires_grad_(True)
    with pytest.raises(RuntimeError, match="needs a loss that is a mean over examples"):
        pipe.step(X, Y)
