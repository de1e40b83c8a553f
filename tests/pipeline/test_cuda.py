"""One stage on a GPU, its process group over NCCL."""

import pytest
import torch
from pipeline.ranks import on_ranks
from torch import nn
from torch.nn import functional as F

import pprs
from pprs.pipeline import Pipeline

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def _network():
    with torch.device("cpu"):
        torch.manual_seed(0)
        layers = nn.Linear(6, 16), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 3)
        return nn.Sequential(*layers).cuda()


def _batches():
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        x = torch.randn(5, 6, generator=generator)
        yield x.cuda(), torch.arange(5).cuda() % 3


def _piped(microbatches):
    network = _network()
    pipeline = Pipeline(
        network, F.cross_entropy, sigma=0.05, samples=4, microbatches=microbatches, seed=3
    )
    optimizer = pprs.AGD(pipeline.named_parameters().items(), 0.1)
    losses = []
    for x, y in _batches():
        losses.append(float(pipeline.step(x, y)))
        optimizer.step()
    return losses, {k: p.detach().cpu() for k, p in pipeline.named_parameters().items()}


def test_a_stage_on_a_gpu_trains_as_one_process_does():
    ((losses, parameters),) = on_ranks(1, _piped, 1)
    network = _network()
    optimizer = pprs.PPRS(network, 0.1, sigma=0.05, samples=4, seed=3)
    for (x, y), loss in zip(_batches(), losses, strict=True):
        mean = optimizer.step(lambda x=x, y=y: F.cross_entropy(network(x), y))
        torch.testing.assert_close(float(mean), loss, rtol=1e-5, atol=1e-5)
    for name, p in network.named_parameters():
        torch.testing.assert_close(parameters[name], p.detach().cpu(), rtol=1e-5, atol=1e-5)


def test_microbatches_on_a_gpu_train():
    ((losses, _),) = on_ranks(1, _piped, 4)
    assert all(0 < loss < 3 for loss in losses)
