"""A step at several centres keeps the best of them, as if each had had a step of its own.

Real processes: one launch per number of them, all schedules inside it.
"""

from contextlib import nullcontext
from itertools import product
from typing import get_args

import pytest
import torch
import torch.distributed as dist
from pipeline.ranks import merged, on_ranks

from pprs.compare.network import relu_network
from pprs.pipeline import Pipeline, ScheduleName
from pprs.training.losses import hinge

pytestmark = [pytest.mark.dist, pytest.mark.slow]
SCHEDULES = get_args(ScheduleName)
CENTRES, MICROBATCHES, STEPS = 3, 6, 2
LAWS = {
    "plain": {"sigma": 0.0, "samples": 6},
    "shared": {},
    "example, pairs, filters": {"noise": "example", "antithetic": True, "scale": "filter"},
    "again": {"recompute": True},
    "plain, again": {"sigma": 0.0, "recompute": True},
    "tied": {"sigma": 0.0},
    "autocast": {"sigma": 0.0, "samples": 6},
}


def task(law):
    generator = torch.Generator().manual_seed(0)
    network = relu_network(6, 12, 3, 8, generator=generator, dtype=torch.float64)
    x = torch.randn(9, 6, generator=generator, dtype=torch.float64)
    if law == "tied":
        network[5][0].weight = network[4][0].weight
    if law == "autocast":
        network, x = network.float(), x.float()
    return network, x, torch.arange(9) % 3


def centres(step, law):
    """Those of a step, near the first parameters: everywhere the same."""
    generator = torch.Generator().manual_seed(step)
    return [
        {
            name: p.detach() + 0.1 * torch.randn(p.shape, generator=generator, dtype=p.dtype)
            for name, p in task(law)[0].named_parameters()
        }
        for _ in range(CENTRES)
    ]


def precision(law):
    return torch.autocast("cpu", torch.bfloat16) if law == "autocast" else nullcontext()


def built(law, candidates=1, **options):
    """A pipeline with the samples and microbatches of one of so many candidates; its batch."""
    network, x, y = task(law)
    given = dict(sigma=0.05, samples=12, seed=11, check=False) | LAWS[law] | options
    given |= {"samples": given["samples"] // candidates, "microbatches": MICROBATCHES // candidates}
    return Pipeline(network, hinge, **given), x, y


def seen(pipe, losses):
    """What a step has left: the losses, gradients and parameters."""
    parameters = pipe.named_parameters().items()
    left = (
        {n: p.grad.clone() for n, p in parameters},
        {n: p.detach().clone() for n, p in parameters},
    )
    return losses, *left


def searched(law, **options):
    """What steps at several centres leave."""
    pipe, x, y = built(law, **options)
    found = []
    for step in range(STEPS):
        own = [{n: c[n] for n in pipe.named_parameters()} for c in centres(step, law)]
        with precision(law):
            found.append(seen(pipe, pipe.step(x, y, centres=own)))
    return found


def one_by_one(law):
    """What the best of plain steps of one process at each of the centres leaves."""
    pipe, x, y = built(law, CENTRES, recompute=False)
    found = []
    for step in range(STEPS):
        tried = []
        for centre in centres(step, law):
            pipe.steps = step
            for name, p in pipe.named_parameters().items():
                p.data.copy_(centre[name])
            with precision(law):
                tried.append(seen(pipe, pipe.step(x, y)))
        losses = torch.stack([step[0] for step in tried])
        found.append((losses, *tried[losses.argmin()][1:]))
    return found


def fits(schedule, ranks, replicas):
    stages, shared = ranks * (1 if schedule in {"gpipe", "1f1b"} else 2), MICROBATCHES // replicas
    return stages <= 8 and (shared >= stages or schedule not in {"1f1b", "dualpipe-v"})


def worker():
    """What every combination finds, and in one process what it should."""
    found, world = {}, dist.get_world_size()
    for schedule, replicas in product(SCHEDULES, (1, 2)):
        some = world < 4 or schedule in {"1f1b", "zb-v"}
        if world % replicas == 0 and fits(schedule, world // replicas, replicas) and some:
            key = "plain", schedule, replicas
            found[key] = searched("plain", schedule=schedule, replicas=replicas)
    if world == 1:
        found |= {("right", law): one_by_one(law) for law in LAWS}
        found["autocast", "gpipe", 1] = searched("autocast")  # another cut rounds differently
    for law, schedule in product(LAWS, ("1f1b", "zb-v")) if world == 2 else ():
        split = schedule == "zb-v"
        if law not in {"plain", "autocast"} and not (split and "recompute" in LAWS[law]):
            found[law, schedule, 1] = searched(law, schedule=schedule)
    return found


@pytest.fixture(scope="module")
def results():
    """For each number of processes what `worker` found, the ranks' parameters merged."""
    found = {}
    for world in (1, 2, 4):
        ranks = on_ranks(world, worker)
        for key in ranks[0]:
            steps = zip(*(rank[key] for rank in ranks), strict=True)
            found[world, *key] = [together(step) for step in steps]
    return found


def together(step):
    """What all ranks have of a step: the same losses, and each its own of the rest."""
    assert all(torch.equal(rank[0], step[0][0]) for rank in step)
    return step[0][0], merged([rank[1] for rank in step]), merged([rank[2] for rank in step])


def apart(a, b):
    assert a.keys() == b.keys()
    return max(((a[n] - b[n]).norm() / (1e-3 + b[n].norm())).item() for n in a)


def test_gradient_parameters_losses_are_those_of_separate_steps(results):
    found = {key for key in results if key[1] != "right"}
    several = [(2, 1), (2, 2), (4, 1), (4, 2)]
    assert {(world, "plain", s, r) for world, r in several for s in ("1f1b", "zb-v")} <= found
    assert {(world, "plain", s, r) for world, r in several[:2] for s in SCHEDULES} <= found
    for key in found:
        for step, right in zip(results[key], results[1, "right", key[1]], strict=True):
            assert (step[0] - right[0]).abs().max() < 1e-10, key
            assert apart(step[1], right[1]) < 1e-10, key
            assert apart(step[2], right[2]) < 1e-10, key
    best = {int(step[0].argmin()) for law in LAWS for step in results[1, "right", law]}
    assert best == {0, 1, 2}


def unlike():
    """What a rank says of centres that others have another number of, or that have no loss."""
    pipe, x, y = built("shared")
    own = [{n: c[n] for n in pipe.named_parameters()} for c in centres(0, "shared")]
    before = {n: p.detach().clone() for n, p in pipe.named_parameters().items()}
    try:
        pipe.step(x, y, centres=own[: 2 + dist.get_rank()])
    except ValueError as error:
        said = str(error)
    infinite = [{n: torch.full_like(v, torch.inf) for n, v in centre.items()} for centre in own]
    losses = pipe.step(x, y, centres=infinite)
    kept = all(torch.equal(p, before[n]) for n, p in pipe.named_parameters().items())
    return said, losses, kept, pipe.steps, pipe.step(x, y, centres=own)


def test_ranks_with_other_numbers_of_centres_or_without_a_finite_loss_go_on_together(results):
    for said, losses, kept, steps, after in on_ranks(2, unlike):
        assert "rank 1 has the number of centres=3, but rank 0 has the number of centres=2" in said
        assert not losses.isfinite().any()
        assert kept
        assert steps == 0
        torch.testing.assert_close(after, results[1, "right", "shared"][0][0], rtol=1e-10, atol=0)
