"""Going on from a checkpoint, as a training script does: real processes."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from pipeline.ranks import merged, on_ranks

import pprs
from pprs.compare.network import relu_network
from pprs.pipeline import (
    CheckpointError,
    Checkpoints,
    LaunchError,
    Pipeline,
    launch,
    resume_run,
    save_run,
)
from pprs.training.losses import hinge

pytestmark = pytest.mark.dist
HALF, END = 3, 6


def started(replicas=1, schedule="gpipe"):
    generator = torch.Generator().manual_seed(0)
    network = relu_network(4, 8, 3, 4, generator=generator, dtype=torch.float64)
    batch = torch.randn(6, 4, generator=generator, dtype=torch.float64), torch.arange(6) % 3
    pipeline = Pipeline(
        network, hinge, sigma=0.1, samples=4, microbatches=4, seed=3, replicas=replicas,
        schedule=schedule,
    )  # fmt: skip
    optimizer = pprs.AGD(pipeline.named_parameters().items(), 0.05, momentum="nesterov")
    return pipeline, optimizer, batch


def trained(pipeline, optimizer, batch, until, checkpoints=None):
    while pipeline.steps < until:
        pipeline.step(*batch)
        optimizer.step()
        if checkpoints and checkpoints.due(pipeline.steps):
            save_run(checkpoints, pipeline, optimizer, epoch=7)
    return {n: p.detach().clone() for n, p in pipeline.named_parameters().items()}


def whole(folder):
    with Checkpoints(Path(folder), every=HALF) as checkpoints:
        pipeline, optimizer, batch = started()
        return trained(pipeline, optimizer, batch, END, checkpoints)


def again(folder, options):
    pipeline, optimizer, batch = started(**options)
    with Checkpoints(Path(folder)) as checkpoints:
        first = next(path for path in Path(folder).iterdir() if path.name.endswith(f"step-{HALF}"))
        assert resume_run(checkpoints, pipeline, optimizer, first) == {"epoch": 7}
    assert pipeline.steps == HALF
    return trained(pipeline, optimizer, batch, END)


@pytest.mark.slow
def test_a_run_goes_on_bit_for_bit_and_on_another_grid_to_rounding(tmp_path):
    folder = str(tmp_path)
    expected = merged(on_ranks(2, whole, folder))
    same = merged(on_ranks(2, again, folder, {}))
    assert same.keys() == expected.keys()
    assert all(torch.equal(same[n], expected[n]) for n in expected)
    for processes, options in ((2, {"replicas": 2}), (1, {"schedule": "zb-v"})):
        other = merged(on_ranks(processes, again, folder, options))
        assert all(torch.allclose(other[n], expected[n], rtol=1e-10) for n in expected)


class Mean(torch.nn.Module):
    """Subtracts the mean of what it has seen."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(4, dtype=torch.float64))

    def forward(self, x):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return x - self.mean


def stateful(schedule):
    torch.manual_seed(0)
    layers = [torch.nn.Linear(4, 4), Mean(), torch.nn.Linear(4, 4), torch.nn.Linear(4, 3)]
    pipeline = Pipeline(
        torch.nn.Sequential(*layers).double(), hinge, schedule=schedule, microbatches=1
    )
    optimizer = torch.optim.Adam(pipeline.named_parameters().values(), lr=0.1)
    return pipeline, optimizer, (torch.randn(6, 4, dtype=torch.float64), torch.arange(6) % 3)


@pytest.fixture
def alone():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("early", [False, True])
def test_buffers_and_layers_frozen_meanwhile_are_kept_too(alone, tmp_path, early):
    pipeline, optimizer, batch = stateful("gpipe")
    with Checkpoints(tmp_path, every=HALF + 1) as checkpoints:
        trained(pipeline, optimizer, batch, HALF)
        pipeline.named_parameters()["0.weight"].requires_grad_(False)
        trained(pipeline, optimizer, batch, END, checkpoints)
    again, optimizer, _ = stateful("looped-bfs")
    if early:
        again.named_parameters()["0.weight"].requires_grad_(False)
    resume_run(Checkpoints(tmp_path), again, optimizer)
    again.local[0].chain.get_parameter("0.0.weight").requires_grad_(False)
    trained(again, optimizer, batch, END)
    held = [
        {name: value for stage in p.local.values() for name, value in stage.changing().items()}
        for p in (pipeline, again)
    ]
    assert held[0].keys() == held[1].keys() >= {"0.weight", "1.mean"}
    assert all(torch.equal(value, held[1][name]) for name, value in held[0].items())


def nothing(folder):
    pipeline, optimizer, _ = started()
    resume_run(Checkpoints(Path(folder)), pipeline, optimizer)


@pytest.mark.slow
def test_without_a_checkpoint_the_sentence_says_where_it_was_sought(tmp_path):
    with pytest.raises(LaunchError, match=f"there is no checkpoint in {tmp_path}"):
        launch(nothing, 1, str(tmp_path))
    assert issubclass(CheckpointError, RuntimeError)
