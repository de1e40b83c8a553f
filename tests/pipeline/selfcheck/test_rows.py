"""Which examples a pipeline is compared on: all of a batch where a few of them do not run."""

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from pprs.pipeline import Pipeline, chain

X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 3


@pytest.fixture(scope="module", autouse=True)
def alone():
    """A process group of this process only."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


class Graph(nn.Module):
    """Nodes that get messages from others, each by the number of its row."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x, sources):
        h = self.a(x)
        return self.b(h + h[sources].tanh())


class Recurrent(nn.Module):
    """Goes on from what it gave for the batch before."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.state = nn.Linear(4, 4), nn.Linear(4, 3), None

    def forward(self, x):
        h = self.a(x).tanh() if self.state is None else self.a(x).tanh() + self.state
        self.state = h.detach()
        return self.b(h)


def test_examples_that_refer_to_each_other_are_compared_together():
    inputs = X, Y.roll(3) + 5
    options = dict(example=inputs, schedule="looped-bfs", samples=4, sigma=0.1, seed=0)
    pipeline = Pipeline(Graph(), F.cross_entropy, **options)
    pipeline.step(inputs, Y)
    assert "with yours on 8 examples" in pipeline.checked


@pytest.mark.parametrize("samples", [1, 4])
def test_a_loss_of_more_examples_than_a_few_is_compared_on_all(samples):
    def worst(outputs, targets):
        return F.cross_entropy(outputs, targets, reduction="none").topk(4).values.mean()

    network = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3))
    options = dict(schedule="looped-bfs", samples=samples, sigma=0.1, seed=0)
    pipeline = Pipeline(network, worst, **options)
    pipeline.step(X, Y)
    assert "with yours on 8 examples" in pipeline.checked


@pytest.mark.filterwarnings("ignore:The tensor attribute")  # torch.export's
def test_a_state_of_a_batch_that_a_trace_loses_is_found():
    model = Recurrent()
    pieces = chain(model, X)
    assert model.state is None
    options = dict(schedule="looped-bfs", split="examples", microbatches=1)
    with pytest.raises(RuntimeError, match="the second time that it runs"):
        Pipeline(pieces, F.cross_entropy, **options).step(X, Y)
    assert model.state is None
