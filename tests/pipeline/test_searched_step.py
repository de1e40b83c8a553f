"""A searched step over the stages of real processes is that of one process."""

import tempfile
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from pipeline.ranks import merged, on_ranks
from torch import nn
from torch.optim import SGD, Adam

import pprs
from pprs.pipeline import Checkpoints, Pipeline, resume_run, save_run

pytestmark = [pytest.mark.dist, pytest.mark.slow]
STEPS, HALF = 4, 2
KINDS = {
    "adam": Adam,
    "sgd": lambda groups: SGD(groups, lr=1.0, momentum=0.9),
    "agd": lambda groups: pprs.AGD(groups, 1.0, momentum="nesterov"),
}


def task():
    torch.manual_seed(0)
    layers = [nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)]
    model = nn.Sequential(*layers, nn.Hardtanh(), nn.Identity(), nn.Identity()).double()
    return model, torch.randn(6, 4, dtype=torch.float64), torch.arange(6) % 3


def started(kind, clip=None, **options):
    model, x, y = task()
    given = dict(sigma=0.05, samples=12, seed=3, check=False) | options
    pipe = Pipeline(model, F.cross_entropy, **given)
    optimizer = KINDS[kind]([{"params": list(pipe.named_parameters().values())}])
    return pipe, pprs.SearchedStep(optimizer, pipe, clip=clip), (x, y)


def trained(pipe, searched, batch, until=STEPS):
    """Losses and step sizes, and this rank's parameters."""
    said = []
    while pipe.steps < until:
        said.append([searched.step(*batch).item(), searched.lr, searched.gradient_norm])
    return said, {n: p.detach().clone() for n, p in pipe.named_parameters().items()}


def interrupted(folder, kind, **options):
    """The same as `trained`, but saved, and gone on with by others."""
    pipe, searched, batch = started(kind, **options)
    with Checkpoints(Path(folder)) as checkpoints:
        before, _ = trained(pipe, searched, batch, HALF)
        save_run(checkpoints, pipe, searched)
    said, parameters = resumed(folder, kind, **options)
    return before + said, parameters


def resumed(folder, kind, **options):
    pipe, searched, batch = started(kind, **options)
    with Checkpoints(Path(folder)) as checkpoints:
        resume_run(checkpoints, pipe, searched)
    return trained(pipe, searched, batch)


def worker(folder):
    found, several = {}, dist.get_world_size() > 1
    for kind in KINDS:
        found[kind] = trained(*started(kind, clip=0.2, microbatches=6))
    if not several:
        found["alone"] = {kind: trained(*started(kind, clip=0.2)) for kind in KINDS}
    for kind in ("adam", "agd"):
        options = {"clip": 0.2, "microbatches": 6}
        if not several:  # what two processes have saved
            found[kind, "again"] = resumed(f"{folder}/{kind}", kind, **options)
            continue
        found[kind, "zb-v"] = trained(*started(kind, schedule="zb-v", **options))
        found[kind, "copies"] = trained(*started(kind, replicas=2, **options))
        # The second rank has no parameter.
        found[kind, "bare"] = trained(*started(kind, cut=["5"], **options))
        found[kind, "again"] = interrupted(f"{folder}/{kind}", kind, **options)
    return found


@pytest.fixture(scope="module")
def results():
    """Of one process, and of two."""
    with tempfile.TemporaryDirectory() as folder:
        ranks = on_ranks(2, worker, folder)
        return on_ranks(1, worker, folder)[0], ranks


def close(found, right, tolerance=1e-10):
    said, parameters = found
    torch.testing.assert_close(torch.tensor(said), torch.tensor(right[0]), rtol=tolerance, atol=0)
    torch.testing.assert_close(parameters, right[1], rtol=tolerance, atol=tolerance)


def together(ranks, key):
    """What all ranks have said, which is the same, and the parameters of all."""
    said = [rank[key][0] for rank in ranks]
    assert all(other == said[0] for other in said)
    return said[0], merged([rank[key][1] for rank in ranks])


def test_steps_of_several_processes_are_those_of_one(results):
    one, ranks = results
    assert len(ranks[0]) == len(KINDS) + 8
    for key in ranks[0]:
        close(together(ranks, key), one[key if key in KINDS else key[0]])
    for kind in KINDS:
        said, _ = one[kind]
        assert len({lr for _, lr, _ in said}) > 2  # it was searched
        assert max(norm for *_, norm in said) > 0.2  # it was clipped


def test_a_run_that_is_resumed_ends_bit_for_bit_as_if_uninterrupted(results):
    one, ranks = results
    for kind in ("adam", "agd"):
        again, whole = together(ranks, (kind, "again")), together(ranks, kind)
        assert again[0] == whole[0]
        assert all(torch.equal(again[1][name], whole[1][name]) for name in whole[1])
        said, parameters = one[kind]
        close(one[kind, "again"], (said[-HALF:], parameters))


def test_with_a_microbatch_of_each_candidate_they_are_those_of_a_model(results):
    for kind, make in KINDS.items():
        model, x, y = task()
        law = pprs.Perturbation(0.05, samples=12)
        optimizer = make(model.parameters())
        searched = pprs.SearchedStep(optimizer, model, perturbation=law, seed=3, clip=0.2)
        said = []
        for _ in range(STEPS):
            loss = searched.step(lambda x, y, model=model: F.cross_entropy(model(x), y), (x, y))
            said.append([loss.item(), searched.lr, searched.gradient_norm])
        parameters = {n: p.detach() for n, p in model.named_parameters()}
        close(results[0]["alone"][kind], (said, parameters))
