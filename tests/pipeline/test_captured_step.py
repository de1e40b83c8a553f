"""A pipeline of one stage in one process whose step is recorded takes the steps that it took."""

import random
import re
import warnings

import pytest
import torch
import torch.nn.functional as F
from pipeline.ranks import on_ranks
from torch import nn

from pprs.pipeline import Pipeline
from pprs.smoothing import NotFiniteError, Perturbation
from pprs.training.losses import hinge

pytestmark = pytest.mark.dist
FILTERS = Perturbation.filter(0.05, samples=4)
STEPS = 5


def mlp(*more):
    return nn.Sequential(nn.Linear(16, 24), nn.ReLU(), *more, nn.Linear(24, 3))


def convolutions():
    return nn.Sequential(
        nn.Unflatten(1, (4, 4)), nn.Conv1d(4, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(),
        nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip


def attention():
    options = dict(dropout=0.0, batch_first=True)
    layer = nn.TransformerEncoderLayer(8, 2, 12, **options)
    return nn.Sequential(nn.Unflatten(1, (2, 8)), layer, nn.Flatten(), nn.Linear(16, 3))


class Counting(nn.Module):
    """Adds a buffer that counts."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1e-3
        return x + self.calls


class Asking(nn.Module):
    """Scales by Python's random numbers."""

    def forward(self, x):
        return x * (1 + 1e-3 * random.random())


class Weighted(nn.Module):
    """A loss whose weight is trained with the network."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, outputs, targets):
        return self.weight * F.cross_entropy(outputs, targets)


RECORDED = {
    "filters": (mlp, hinge, {"perturbation": FILTERS}),
    "pairs": (mlp, F.cross_entropy, {"sigma": 0.05, "samples": 4, "antithetic": True}),
    "of examples": (mlp, F.cross_entropy, {"sigma": 0.05, "samples": 4, "split": "examples"}),
    "each example": (mlp, F.mse_loss, {"sigma": 0.05, "samples": 4, "noise": "example"}),
    "convolutions": (convolutions, hinge, {"perturbation": FILTERS}),
    "attention": (attention, F.cross_entropy, {"perturbation": FILTERS}),
    "no noise": (mlp, hinge, {}),
    "one draw": (mlp, hinge, {"sigma": 0.05}),
}  # fmt: skip
UNRECORDED = {
    "dropout": (lambda: mlp(nn.Dropout(0.5)), hinge, "its layers draw random numbers"),
    "a buffer": (lambda: mlp(Counting()), hinge, "it changes buffer '2.*calls'"),
    "Python's": (lambda: mlp(Asking()), hinge, "random numbers of Python"),
    "its own": (mlp, Weighted, "1 tensors that are not the model's get gradients"),
}


def batch(m=5, loss=hinge):
    x = torch.randn(m, 16, generator=torch.Generator().manual_seed(1))
    return x, x[:, :3] if loss is F.mse_loss else torch.arange(m) % 3


def stepped(make, loss, capture, said=None, sizes=(5,), accumulate=False, **how):
    """Losses, parameters and gradients of some steps, and the number of recordings."""
    torch.manual_seed(0)
    loss = loss() if isinstance(loss, type) else loss
    pipeline = Pipeline(make(), loss, seed=3, check=False, capture=capture, **how)
    if said is not None and capture:
        pipeline.captured.tell = said.append
    own = list(loss.parameters()) if isinstance(loss, nn.Module) else []
    optimizer = torch.optim.Adam([*pipeline.named_parameters().values(), *own], 0.01)
    found = []
    for step in range(STEPS):
        found.append(pipeline.step(*batch(sizes[step % len(sizes)], loss)))
        if accumulate:
            found.append(pipeline.step(*batch(), accumulate=True))
        optimizer.step()
    tensors = [*pipeline.named_parameters().values(), *own]
    found += [t.detach() for p in tensors for t in (p, p.grad)]
    return found, len(pipeline.captured._recordings) if capture else 0


def same(make, loss, **how):
    """Whether a recorded pipeline does the same, to the last bit; and its recordings."""
    (plain, _), (found, recordings) = (
        stepped(make, loss, capture, **how) for capture in (False, True)
    )
    return all(map(torch.equal, plain, found)), recordings


def searched(capture):
    """Losses, parameters and gradients of steps at several centres, between others."""
    torch.manual_seed(0)
    pipeline = Pipeline(mlp(), hinge, perturbation=FILTERS, seed=3, check=False, capture=capture)
    found = []
    for step in range(6):
        parameters = pipeline.named_parameters()
        centres = [{n: p - lr * p.sign() for n, p in parameters.items()} for lr in (0.0, 0.01)]
        found.append(pipeline.step(*batch(), centres=centres if step % 3 else None).clone())
        found += [tensor.detach().clone() for p in parameters.values() for tensor in (p, p.grad)]
    return found, len(pipeline.captured._recordings) if capture else 0


def compared():
    found = {name: same(make, loss, **how) for name, (make, loss, how) in RECORDED.items()}
    found["two sizes"] = same(mlp, hinge, perturbation=FILTERS, sizes=(5, 3))
    found["added up"] = same(mlp, hinge, perturbation=FILTERS, accumulate=True)
    (plain, _), (recorded, recordings) = searched(False), searched(True)
    found["centres"] = all(map(torch.equal, plain, recorded)), recordings
    found["divided"] = same(mlp, hinge, perturbation=FILTERS, microbatches=2)
    with torch.autocast("cpu", torch.bfloat16):
        found["autocast"] = same(mlp, hinge, perturbation=FILTERS)
    for name, (make, loss, _) in UNRECORDED.items():
        said = []
        found[name] = (*same(make, loss, perturbation=FILTERS, said=said), said)
    return found


@pytest.fixture(scope="module")
def found():
    (own,) = on_ranks(1, compared)
    return own


@pytest.mark.parametrize("case", [*RECORDED, "added up", "autocast"])
def test_recorded_steps_are_the_same_to_the_last_bit(found, case):
    assert found[case] == (True, 1)


@pytest.mark.parametrize("case", ["two sizes", "centres"])
def test_each_size_of_a_batch_and_number_of_perturbations_is_recorded(found, case):
    assert found[case] == (True, 2)


def test_steps_of_several_microbatches_run_as_before(found):
    assert found["divided"] == (True, 0)


@pytest.mark.parametrize("case", UNRECORDED)
def test_what_cannot_be_recorded_runs_as_before_and_that_is_said_once(found, case):
    equal, recordings, (said,) = found[case]
    assert (equal, recordings) == (True, 0)
    assert re.search(f"not recorded.*: .*{UNRECORDED[case][2]}", said)


def gone_on():
    """Whether steps from the third one on are the same in a new pipeline."""
    x, y = batch()
    runs, kept = [], {}
    for first in (0, 2):
        torch.manual_seed(0)
        pipeline = Pipeline(mlp(), hinge, perturbation=FILTERS, seed=3, check=False, capture=True)
        pipeline.steps, parameters = first, pipeline.named_parameters()
        for name, parameter in parameters.items():
            parameter.data.copy_(kept.get(name, parameter))
        for step in range(first, 7):
            if step == 2:
                kept |= {name: parameter.detach().clone() for name, parameter in parameters.items()}
            pipeline.step(x, y)
            for parameter in parameters.values():
                parameter.data.sub_(parameter.grad, alpha=0.1)
        runs.append([p.detach() for p in parameters.values()])
    return all(map(torch.equal, *runs))


def test_steps_that_are_gone_on_with_are_the_same_whichever_are_recorded():
    assert on_ranks(1, gone_on) == [True]


def in_trouble(capture):
    """What is raised by steps whose batch is wrong, or whose loss is not finite."""
    how = dict(perturbation=FILTERS, seed=3, check=False, capture=capture)
    pipeline = Pipeline(mlp(), F.cross_entropy, **how)
    x, y = batch()
    for _ in range(2):
        pipeline.step(x, y)
    said = []
    for wrong in ((x, y + 7), (x * torch.inf, y)):
        with pytest.raises((RuntimeError, NotFiniteError)) as raised:
            pipeline.step(*wrong)
        said.append(str(raised.value))
    pipeline.step(x, y)
    return said, len(pipeline.captured._recordings) if capture else 1


def test_errors_of_recorded_steps_are_those_of_others():
    plain, recorded = (on_ranks(1, in_trouble, capture) for capture in (False, True))
    assert plain == recorded
    assert plain[0][0][0].startswith("the loss failed on outputs of shape (5, 3)")


def not_finite():
    """Steps go on at losses that are not finite, as they do without a recording."""
    x, y = batch()
    return [
        [pipeline.step(x * scale, y).item() for scale in (1, 1, torch.inf, torch.inf, 1, 1)]
        for pipeline in (
            Pipeline(mlp(), hinge, sigma=0.1, seed=3, check=False, finite=False, capture=capture)
            for capture in (False, True)
            if torch.manual_seed(0)
        )
    ]


def test_steps_without_finite_losses_go_on():
    ((plain, recorded),) = on_ranks(1, not_finite)
    assert repr(plain) == repr(recorded)


def refused(**how):
    with pytest.raises(ValueError, match="a step of one stage in one process") as raised:
        Pipeline(mlp(), hinge, sigma=0.1, samples=4, seed=0, capture=True, **how)
    return str(raised.value)


def all_refused():
    return [refused(recompute=True), refused(record=3)]


def test_what_is_more_than_one_pass_in_one_process_is_refused():
    (alone,) = on_ranks(1, all_refused)
    assert all("one of these settings" in said for said in alone)
    for said in on_ranks(2, refused):
        assert "got 2 stages in 2 processes" in said


def warned():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stepped(lambda: mlp(nn.Dropout(0.5)), hinge, True, perturbation=FILTERS)
    return [(str(warning.message), warning.filename) for warning in caught]


def test_without_who_tells_it_is_a_warning_where_the_step_was_taken():
    (((said, file),),) = on_ranks(1, warned)
    assert "steps are not recorded" in said
    assert file == __file__
