"""The pipelines of a model whose batches have many shapes."""

import warnings

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import mse_loss

from pprs.integrations.pipelines import Pipelines, join


@pytest.fixture
def alone():
    join()
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("alone")
def test_more_shapes_than_are_kept_still_train_and_are_warned_of():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    pipelines = Pipelines(model, mse_loss, split="examples", seed=0, device="cpu", check=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(length):
        x = torch.randn(2, length, 3, dtype=torch.float64)
        right = torch.autograd.grad(mse_loss(model(x), x[..., :1]) / 2, model.parameters())
        optimizer.zero_grad()
        loss = pipelines.loss((x,), x[..., :1], [optimizer], step=0, batch=0)
        (loss / 2).backward()
        torch.testing.assert_close([p.grad for p in model.parameters()], [*right])
        optimizer.step()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for length in [*range(1, 9), *range(1, 9)]:
            step(length)
    with pytest.warns(UserWarning, match="more than 8 shapes.*pad them to few lengths"):
        step(9)
