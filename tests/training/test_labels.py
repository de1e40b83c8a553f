"""What the labels that do not count, and those of the next token, do to a step and its loss."""

import math

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import TensorDataset

from pprs.training import TrainConfig
from pprs.training.data import BatchOrder, Examples
from pprs.training.labels import copies
from pprs.training.losses import cross_entropy
from pprs.training.stages import Stages
from pprs.training.task import Task

CLASSES = 7


@pytest.fixture(scope="module", autouse=True)
def alone():
    """A process group of this process only."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(CLASSES, 6), nn.Linear(6, CLASSES)).double()


def tokens(examples=8):
    return torch.randint(CLASSES, (examples, 5), generator=torch.Generator().manual_seed(1))


def labels(examples=8):
    """Unequally many count; none of two examples, at 1 and 6."""
    y = tokens(examples).roll(1, 0)
    y[0, 2:] = y[3, 4] = y[1] = y[6] = -100
    return y


def stages(x, y, **changes):
    settings = {"model": "a:b", "data": "a:c", "steps": 1, "stages": 1, "batch": 8} | changes
    config = TrainConfig(**settings)
    model, examples = network(), Examples(TensorDataset(x, y), shift=config.shift_labels)
    order = BatchOrder(len(x), config.batch, config.accumulate, config.seed)
    return Stages(config, Task(model, examples, None, cross_entropy, order, 1), {}), model


def stepped(x, y, **changes):
    """The loss of the first step, and the gradient."""
    made, model = stages(x, y, **changes)
    return made.gradient(0), {name: p.grad for name, p in model.named_parameters()}


def plain(x, y):
    """What torch gives for the whole batch."""
    model = network()
    loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
    loss.backward()
    return loss.item(), {name: p.grad for name, p in model.named_parameters()}


def check_same(found, expected):
    assert found[0] == pytest.approx(expected[0], rel=1e-12)
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    "division",
    [
        {"microbatches": 8}, {"microbatches": 4}, {"microbatches": 1},
        {"batch": 2, "accumulate": 4}, {"batch": 4, "accumulate": 2, "microbatches": 2},
        {"samples": 4, "sigma": 1e-13, "microbatches": 2},
        {"samples": 4, "sigma": 1e-13, "microbatches": 4, "split": "examples"},
        {"samples": 2, "sigma": 1e-13, "noise": "example", "microbatches": 2},
        {"sigma": 1e-13, "noise": "example", "microbatches": 4},
    ],
)  # fmt: skip
def test_every_label_that_counts_weighs_the_same_however_a_batch_is_divided(division):
    check_same(stepped(tokens(), labels(), **division), plain(tokens(), labels()))


def test_without_labels_that_count_the_gradient_is_zero_and_there_is_no_loss():
    loss, gradients = stepped(tokens(), torch.full_like(tokens(), -100), microbatches=4)
    assert math.isnan(loss)
    assert all((gradient == 0).all() for gradient in gradients.values())


def test_the_loss_of_an_evaluation_is_the_mean_over_all_labels_that_count():
    made, _ = stages(tokens(), labels(), batch=1)
    measured = made.evaluate(Examples(TensorDataset(tokens(), labels())))
    assert measured["loss"] == pytest.approx(plain(tokens(), labels())[0], rel=1e-12)


def test_shifted_labels_are_those_of_the_next_token():
    x = tokens()
    model = network()
    loss = nn.functional.cross_entropy(model(x)[:, :-1].flatten(0, 1), x[:, 1:].flatten())
    loss.backward()
    expected = loss.item(), {name: p.grad for name, p in model.named_parameters()}
    check_same(stepped(x, x, shift_labels=True, microbatches=4), expected)


def test_a_label_that_is_no_class_is_named_with_its_item():
    y = labels()
    y[5, 1] = CLASSES
    made, _ = stages(tokens(), y, microbatches=4)
    with pytest.raises(ValueError, match=r"item 5 of the training data has the label 7, but the"):
        made.gradient(0)


def test_only_tokens_are_taken_for_copies():
    x = tokens()
    assert copies([x.float(), x], torch.where(x > 2, x, -100))
    assert not copies([x], torch.full_like(x, -100))
    assert not copies([x], labels())
    assert not copies([x[:, 0]], x[:, 0])
    assert not copies([x.float()], x.float())
