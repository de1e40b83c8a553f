"""Going on from a checkpoint, as a training script does: real processes."""

from pathlib import Path

import pytest
import torch
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
        return trained(*started(), END, checkpoints)


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


def nothing(folder):
    pipeline, optimizer, _ = started()
    resume_run(Checkpoints(Path(folder)), pipeline, optimizer)


@pytest.mark.slow
def test_without_a_checkpoint_the_sentence_says_where_it_was_sought(tmp_path):
    with pytest.raises(LaunchError, match=f"there is no checkpoint in {tmp_path}"):
        launch(nothing, 1, str(tmp_path))
    assert issubclass(CheckpointError, RuntimeError)
