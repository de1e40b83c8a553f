"""The result does not depend on how a network is cut, nor on the order of its microbatches.

Real processes: one launch per number of stages, all schedules and precisions inside it.
"""

import pickle
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

import pprs
from pprs.pipeline import Pipeline, launch
from pprs.tasks.losses import hinge
from pprs.tasks.networks import relu_network

STEPS, SAMPLES, MICROBATCHES = 20, 8, 4
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
LR, SIGMA, SEED = 0.05, 0.05, 11


def task(dtype):
    generator = torch.Generator().manual_seed(0)
    network = relu_network(6, 12, 3, 8, generator=generator, dtype=dtype)
    return network, torch.randn(9, 6, generator=generator, dtype=dtype), torch.arange(9) % 3


def train(dtype, schedule, microbatches=MICROBATCHES, network=None):
    model, x, y = task(dtype)
    pipeline = Pipeline(
        network or model,
        hinge,
        sigma=SIGMA,
        samples=SAMPLES,
        microbatches=microbatches,
        schedule=schedule,
        seed=SEED,
    )
    optimizer = pprs.AGD(pipeline.named_parameters().items(), LR)
    losses = []
    for _ in range(STEPS):
        losses.append(pipeline.step(x, y))
        optimizer.step()
    return pipeline, {n: p.detach().clone() for n, p in pipeline.named_parameters().items()}, losses


def worker(folder):
    """Every combination; each rank writes its own parameters, the last one the losses as well."""
    result = {}
    for dtype in TOLERANCE:
        for schedule in ("gpipe", "1f1b"):
            pipeline, parameters, losses = train(dtype, schedule)
            _, x, y = task(dtype)
            scores = pipeline(x)
            assert (scores is not None) == pipeline.is_last
            loss = None if scores is None else hinge(scores, y)
            result[dtype, schedule] = parameters, losses if pipeline.is_last else None, loss
    if dist.get_world_size() == 1:
        result["one microbatch"] = train(torch.float64, "gpipe", 1)[1]
    Path(folder, f"{dist.get_rank()}.pickle").write_bytes(pickle.dumps(result))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """For each number of stages: what `worker` wrote, the ranks' parameters merged."""
    merged = {}
    for stages in (1, 2, 4):
        folder = tmp_path_factory.mktemp(f"stages{stages}")
        launch(worker, stages, str(folder))
        ranks = [pickle.loads((folder / f"{i}.pickle").read_bytes()) for i in range(stages)]
        merged[stages] = {
            key: ({n: p for r in ranks for n, p in r[key][0].items()}, *ranks[-1][key][1:])
            for key in ranks[0]
            if key != "one microbatch"
        }
        if stages == 1:
            merged["one microbatch"] = ranks[0]["one microbatch"]
    return merged


def difference(a, b):
    assert a.keys() == b.keys()
    return max(((a[n] - b[n]).norm() / b[n].norm()).item() for n in a)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_parameters_are_the_same_for_all_stages_and_schedules(results, dtype):
    reference, losses, loss = results[1][dtype, "gpipe"]
    start = {n: p.detach() for n, p in task(dtype)[0].named_parameters()}
    assert difference(reference, start) > 0.01  # it did move
    for stages in (1, 2, 4):
        for schedule in ("gpipe", "1f1b"):
            parameters, some_losses, some_loss = results[stages][dtype, schedule]
            assert difference(parameters, reference) < TOLERANCE[dtype]
            for value, expected in zip([*some_losses, some_loss], [*losses, loss], strict=True):
                assert abs(value - expected) < TOLERANCE[dtype] * (1 + abs(expected))


def test_another_seed_is_further_away_than_the_tolerance(results):
    model, x, y = task(torch.float64)
    optimizer = pprs.PPRS(model, LR, sigma=SIGMA, samples=SAMPLES, seed=SEED + 1)
    for _ in range(STEPS):
        optimizer.step(lambda: hinge(model(x), y))
    parameters = {n: p.detach() for n, p in model.named_parameters()}
    assert difference(parameters, results["one microbatch"]) > 1e-4


def test_with_one_microbatch_the_pipeline_is_pprs(results):
    model, x, y = task(torch.float64)
    optimizer = pprs.PPRS(model, LR, sigma=SIGMA, samples=SAMPLES, seed=SEED)
    for _ in range(STEPS):
        optimizer.step(lambda: hinge(model(x), y))
    parameters = {n: p.detach() for n, p in model.named_parameters()}
    assert difference(parameters, results["one microbatch"]) < TOLERANCE[torch.float64]


def test_a_pipeline_needs_a_process_group():
    with pytest.raises(RuntimeError, match="init_process_group"):
        Pipeline(task(torch.float32)[0], F.cross_entropy)
