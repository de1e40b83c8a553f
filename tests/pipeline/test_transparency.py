"""The result does not depend on how a network is cut, nor on the order of its microbatches.

Real processes: one launch per number of stages, all schedules and precisions inside it.
"""

from itertools import product
from typing import get_args

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from pipeline.ranks import merged, on_ranks

import pprs
from pprs.compare.network import relu_network
from pprs.pipeline import Pipeline, ScheduleName
from pprs.pipeline.schedule import check_pairs
from pprs.smoothing import Perturbation, force_way
from pprs.training.losses import hinge

pytestmark = [pytest.mark.dist, pytest.mark.slow]
STEPS, SAMPLES, MICROBATCHES = 2, 8, 4
SCHEDULES = get_args(ScheduleName)
LAWS = {
    "shared": {},
    "example": {"noise": "example"},
    "pairs": {"antithetic": True},
    "example, pairs, filters": {"noise": "example", "antithetic": True, "scale": "filter"},
    "groups": {"sigma": {"": 0.05, "2": lambda step: 0.1 / (1 + step)}},
}
EXAMPLES = {"split": "examples", "noise": "example", "rows": 8}
EXAMPLES_SCHEDULES = ("gpipe", "1f1b", "zb-v")
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
LR, SIGMA, SEED = 0.05, 0.05, 11


def task(dtype, rows=9):
    generator = torch.Generator().manual_seed(0)
    network = relu_network(6, 12, 3, 8, generator=generator, dtype=dtype)
    return network, torch.randn(rows, 6, generator=generator, dtype=dtype), torch.arange(rows) % 3


def train(dtype, schedule, microbatches=MICROBATCHES, law="shared", rows=9, **options):
    model, x, y = task(dtype, rows)
    pipeline = Pipeline(
        model,
        hinge,
        samples=SAMPLES,
        microbatches=microbatches,
        schedule=schedule,
        seed=SEED,
        check=False,  # what is compared here says more
        **{"sigma": SIGMA} | LAWS[law] | options,
    )
    optimizer = pprs.AGD(pipeline.named_parameters().items(), LR)
    losses = []
    for _ in range(STEPS):
        losses.append(pipeline.step(x, y))
        optimizer.step()
    if schedule == "gpipe":
        scores = pipeline(x)
        assert (scores is not None) == pipeline.is_last
        losses.append(None if scores is None else hinge(scores, y))
    return {n: p.detach().clone() for n, p in pipeline.named_parameters().items()}, losses


def fits(schedule, ranks, replicas):
    """Whether four microbatches and eight layers are enough."""
    stages = ranks if schedule in {"gpipe", "1f1b"} else 2 * ranks
    enough = MICROBATCHES // replicas >= stages or schedule not in {"1f1b", "dualpipe-v"}
    return MICROBATCHES % replicas == 0 and stages <= 8 and enough


def worker():
    """Every combination: each rank's own parameters, and of the last one the losses as well."""
    result, world = {}, dist.get_world_size()
    for schedule in ("gpipe", "1f1b"):
        result[torch.float32, schedule] = train(torch.float32, schedule)
    for replicas in (1, 2):
        for schedule in SCHEDULES:
            if world % replicas == 0 and fits(schedule, world // replicas, replicas):
                trained = train(torch.float64, schedule, replicas=replicas)
                result["grid", replicas, schedule] = trained
            if schedule in EXAMPLES_SCHEDULES and ("grid", replicas, schedule) in result:
                trained = train(torch.float64, schedule, replicas=replicas, **EXAMPLES)
                result["examples", replicas, schedule] = trained
    for law, way in product(LAWS, ("implicit", "materialised")) if world < 4 else ():
        with force_way(way):
            result[law, way] = train(torch.float64, "1f1b", law=law)
    if world == 1:
        for law in LAWS:
            result["one microbatch", law] = train(torch.float64, "gpipe", 1, law)[0]
    return result


@pytest.fixture(scope="module")
def results():
    """For each number of stages: what `worker` found, the ranks' parameters merged."""
    found = {}
    for stages in (1, 2, 4):
        ranks = on_ranks(stages, worker)
        found[stages] = {
            key: (merged([r[key][0] for r in ranks]), ranks[-1][key][1])
            for key in ranks[0]
            if key[0] != "one microbatch"
        }
        if stages == 1:
            found |= {key: ranks[0][key] for key in ranks[0] if key[0] == "one microbatch"}
    return found


def difference(a, b):
    assert a.keys() == b.keys()
    return max(((a[n] - b[n]).norm() / b[n].norm()).item() for n in a)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_parameters_are_the_same_for_all_stages_and_schedules(results, dtype):
    kind = ("grid", 1) if dtype == torch.float64 else (dtype,)

    def found(stages, schedule):
        return results[stages][(*kind, schedule)]

    reference, losses = found(1, "gpipe")
    start = {n: p.detach() for n, p in task(dtype)[0].named_parameters()}
    assert difference(reference, start) > 0.01  # it did move
    for stages in (1, 2, 4):
        for schedule in ("gpipe", "1f1b"):
            parameters, some_losses = found(stages, schedule)
            assert difference(parameters, reference) < TOLERANCE[dtype]
            for value, expected in zip(some_losses, losses, strict=schedule == "gpipe"):
                assert abs(value - expected) < TOLERANCE[dtype] * (1 + abs(expected))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_so_they_are_for_every_schedule_and_number_of_replicas(results, schedule):
    reference = results[1]["grid", 1, "gpipe"][0]
    grids = [
        (world, key[1])
        for world in (1, 2, 4)
        for key in results[world]
        if key[0] == "grid" and key[2] == schedule
    ]
    # Two processes hold four stages of dualpipe-v, which want four microbatches in each copy.
    several = set() if schedule == "dualpipe-v" else {(4, 2)}
    assert {(1, 1), (2, 1), (2, 2)} | several <= set(grids)
    for world, replicas in grids:
        parameters = results[world]["grid", replicas, schedule][0]
        assert difference(parameters, reference) < TOLERANCE[torch.float64], (world, replicas)


def test_so_they_are_where_microbatches_are_examples(results):
    reference = results[1]["examples", 1, "gpipe"][0]
    seen = {
        (world, *key[1:]) for world in (1, 2, 4) for key in results[world] if key[0] == "examples"
    }
    some = {(1, 1, "zb-v"), (2, 1, "1f1b"), (2, 2, "gpipe"), (4, 2, "zb-v"), (4, 1, "gpipe")}
    assert some <= seen
    for world, replicas, schedule in seen:
        parameters = results[world]["examples", replicas, schedule][0]
        assert difference(parameters, reference) < TOLERANCE[torch.float64], (world, replicas)
    assert difference(results[1]["grid", 1, "gpipe"][0], reference) > 1e-4


@pytest.mark.parametrize("way", ["implicit", "materialised"])
@pytest.mark.parametrize("law", LAWS)
def test_so_it_is_for_every_law_of_the_noise(results, law, way):
    reference = results[1][law, way][0]
    assert difference(results[2][law, way][0], reference) < TOLERANCE[torch.float64]
    other = results[1][law, "implicit" if way == "materialised" else "materialised"][0]
    assert difference(other, reference) > 1e-4  # the noise is another one


def test_another_seed_is_further_away_than_the_tolerance(results):
    model, x, y = task(torch.float64)
    optimizer = pprs.PPRS(model, LR, sigma=SIGMA, samples=SAMPLES, seed=SEED + 1)
    for _ in range(STEPS):
        optimizer.step(lambda: hinge(model(x), y))
    parameters = {n: p.detach() for n, p in model.named_parameters()}
    assert difference(parameters, results["one microbatch", "shared"]) > 1e-4


@pytest.mark.parametrize("law", LAWS)
def test_with_one_microbatch_the_pipeline_is_pprs(results, law):
    model, x, y = task(torch.float64)
    options = {"sigma": SIGMA} | LAWS[law]
    optimizer = pprs.PPRS(model, LR, samples=SAMPLES, seed=SEED, **options)
    for _ in range(STEPS):
        optimizer.step(lambda x, y: hinge(model(x), y), (x, y))
    parameters = {n: p.detach() for n, p in model.named_parameters()}
    assert difference(parameters, results["one microbatch", law]) < TOLERANCE[torch.float64]


def test_pairs_stay_in_one_microbatch():
    with pytest.raises(ValueError, match=r"each of the 4 microbatches would carry 1"):
        check_pairs(Perturbation(0.1, 4, antithetic=True), 4)


def test_a_pipeline_needs_a_process_group():
    with pytest.raises(RuntimeError, match="init_process_group"):
        Pipeline(task(torch.float32)[0], F.cross_entropy)
