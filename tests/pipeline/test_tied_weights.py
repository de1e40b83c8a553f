"""A weight that layers of several stages share trains as it does in one process."""

import tempfile
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from pipeline.networks import refused
from pipeline.ranks import on_ranks
from torch import nn
from torch.nn.functional import cross_entropy

import pprs
from pprs.pipeline import Checkpoints, Pipeline, chain, resume_run, save_run
from pprs.pipeline.checkpoint import read_manifest
from pprs.pipeline.partitioner import reused
from pprs.smoothing import force_way

pytestmark = [pytest.mark.dist, pytest.mark.slow]
STEPS, HALF = 3, 1
# One of each kind: a stage on each process, several in a loop, there and back, split backwards.
SCHEDULES = ["1f1b", "interleaved-1f1b", "interleaved-zero-bubble", "zb-v", "dualpipe-v"]
TIED = {"ends": "0.weight", "middle": "2.weight"}


def ends():
    """A look-up that is the output layer, too, as in GPT-2."""
    layers = [nn.Embedding(5, 6), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6)]
    model = nn.Sequential(*layers, nn.Linear(6, 5, bias=False)).double()
    model[4].weight = model[0].weight
    return model, torch.arange(4)


def middle():
    """Linear maps that share weights, two of them biases, too: any could be the first to draw."""
    layers = [nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)]
    model = nn.Sequential(*layers, nn.Linear(6, 5)).double()
    model[3].weight = model[4].weight = model[2].weight
    model[4].bias = model[2].bias
    return model, torch.randn(4, 4, dtype=torch.float64)


NETWORKS = {"ends": ends, "middle": middle}
LAWS = {
    "plain": dict(split="examples", microbatches=2),
    "shared": dict(sigma=0.1, samples=4, microbatches=2),
    "example": dict(
        perturbation=pprs.Perturbation.filter(0.1, 8, noise="example", antithetic=True),
        microbatches=4,
    ),
}


def built(name, **options):
    torch.manual_seed(0)
    network, x = NETWORKS[name]()
    pipe = Pipeline(network, cross_entropy, seed=3, **options)
    return pipe, x, torch.arange(4)


def optimizer_of(pipe, kind=torch.optim.Adam, **options):
    return kind([{"params": list(pipe.named_parameters().values())}], lr=0.05, **options)


def trained(pipe, x, y, optimizer, until=STEPS):
    """Norms and losses, and this process's parameters."""
    norms = []
    while pipe.steps < until:
        loss = pipe.step(x, y)
        if pipe.steps == STEPS:
            pipe.step(x, y, accumulate=True)
        norms.append((pipe.clip_grad_norm_(0.3), pipe.from_last(None if loss is None else +loss)))
        optimizer.step()
    return norms, values(pipe)


def values(pipe):
    return {n: p.detach().clone() for n, p in pipe.named_parameters().items()}


def searched(name, **options):
    pipe, x, y = built(name, sigma=0.1, samples=6, microbatches=6, **options)
    step = pprs.SearchedStep(optimizer_of(pipe), pipe, clip=0.3)
    said = [(step.step(x, y).item(), step.lr, step.gradient_norm) for _ in range(STEPS)]
    return said, values(pipe)


def all_of_it(**options):
    """Each way to train, as this many processes do."""
    found = {}
    for name in NETWORKS:
        for law, how in LAWS.items():
            pipe, x, y = built(name, **how, **options)
            # Where it may, a linear map draws what no other stage could know of.
            with force_way("implicit"):
                found[name, law] = trained(pipe, x, y, optimizer_of(pipe))
        found[name, "searched"] = searched(name, **options)
    return found


def saved(folder):
    pipe, x, y = built("ends", **LAWS["shared"])
    optimizer = optimizer_of(pipe)
    with Checkpoints(Path(folder)) as checkpoints, force_way("implicit"):
        trained(pipe, x, y, optimizer, HALF)
        save_run(checkpoints, pipe, optimizer)


def resumed(folder):
    pipe, x, y = built("ends", **LAWS["shared"])
    optimizer = optimizer_of(pipe)
    with Checkpoints(Path(folder)) as checkpoints:
        resume_run(checkpoints, pipe, optimizer)
    with force_way("implicit"):
        return trained(pipe, x, y, optimizer)[1]


def by_rank(folder):
    """The rank decides on the step size of its copy."""
    pipe, x, y = built("ends")
    sgd = torch.optim.SGD(pipe.named_parameters().values(), lr=0.1 + dist.get_rank())
    pipe.step(x, y)
    sgd.step()
    with Checkpoints(Path(folder)) as checkpoints:
        said = [refused(lambda: save_run(checkpoints, pipe, sgd))]
    return [*said, refused(lambda: pipe.step(x, y)), refused(lambda: pipe(x))]


def frozen_by_one():
    pipe, x, y = built("ends")
    if pipe.is_last:
        pipe.named_parameters()["0.weight"].requires_grad_(False)
    pipe.step(x, y)


def frozen_by_all():
    pipe, x, y = built("ends")
    pipe.named_parameters()["0.weight"].requires_grad_(False)
    pipe.step(x, y)
    names, (stage,) = pipe.named_parameters().keys(), pipe.local.values()
    return "0.weight" in names, [p.grad is None for p in stage.chain[-pipe.is_last].parameters()]


def schedules():
    found = {}
    for name in SCHEDULES:
        for tied in NETWORKS:
            options = dict(schedule=name, sigma=0.1, samples=4, microbatches=4)
            pipe, x, y = built(tied, check=name == "zb-v", **options)
            pipe.step(x, y)
            found[tied, name] = {n: p.grad for n, p in pipe.named_parameters().items()}
    return found


def two(folder):
    found = {"trained": all_of_it(), "schedules": schedules()}
    saved(f"{folder}/two")
    found["resumed"] = resumed(f"{folder}/two")
    found["by rank"] = by_rank(f"{folder}/other")
    found["frozen by one"] = refused(frozen_by_one)
    found["frozen by all"] = frozen_by_all()
    return found


def three(folder):
    pipe, x, y = built("middle", **LAWS["shared"], cut=["3", "4"])
    with force_way("implicit"):
        return resumed(f"{folder}/two"), trained(pipe, x, y, optimizer_of(pipe))[1]


def copies():
    return all_of_it(replicas=2)


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield name


@pytest.fixture(scope="module")
def ranks(folder):
    return on_ranks(2, two, folder)


@pytest.fixture(scope="module")
def alone():
    """A process group of this process only."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def one(alone):
    return all_of_it()


def joined(parts):
    """The values of all processes, in each of which those that are shared are bit for bit alike."""
    found = {}
    for part in parts:
        for name, value in part.items():
            assert name not in found or torch.equal(found[name], value)
            found[name] = value
    return found


def close(found, right):
    torch.testing.assert_close(found, right, rtol=1e-10, atol=1e-12)


def compared(parts, right):
    for key, (norms, parameters) in right.items():
        for part in parts:
            close(torch.tensor(part[key][0]), torch.tensor(norms))
        close(joined(part[key][1] for part in parts), parameters)


def test_two_stages_train_the_same_parameters_as_one_process(ranks, one):
    parts = [rank["trained"] for rank in ranks]
    for name, weight in TIED.items():
        assert all(weight in part[name, "plain"][1] for part in parts)
    compared(parts, one)


def test_copies_of_a_pipeline_do_so_too(one):
    compared(on_ranks(4, copies), one)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_schedule_changes_nothing(ranks, alone, schedule):
    for name in NETWORKS:
        pipe, x, y = built(name, sigma=0.1, samples=4, microbatches=4)
        pipe.step(x, y)
        right = {n: p.grad for n, p in pipe.named_parameters().items()}
        close(joined(rank["schedules"][name, schedule] for rank in ranks), right)


def test_it_is_pprs_on_the_model(alone):
    torch.manual_seed(0)
    network, x = ends()
    y = torch.arange(4)
    pprs.smooth(
        lambda: cross_entropy(network(x), y), network, sigma=0.1, samples=4, seed=3
    ).backward()
    right = {n: p.grad.clone() for n, p in network.named_parameters()}
    pipe, x, y = built("ends", sigma=0.1, samples=4, microbatches=1)
    pipe.step(x, y)
    close({n: p.grad for n, p in pipe.named_parameters().items()}, right)


def test_a_checkpoint_has_it_once_and_goes_on_in_any_number_of_stages(ranks, one, folder):
    (path,) = (Path(folder) / "two").glob("*-step-*")
    tensors = read_manifest(path).tensors
    files = {e.file for n, e in tensors.items() if n.startswith(("model.0.", "optimizer.0."))}
    assert files == {"rank-0.safetensors"}
    right = one["ends", "shared"][1]
    close(joined(rank["resumed"] for rank in ranks), right)
    close(resumed(f"{folder}/two"), right)
    again, trained = zip(*on_ranks(3, three, folder), strict=True)
    close(joined(again), right)
    assert all("2.weight" in part for part in trained)  # in all three stages
    close(joined(trained), one["middle", "shared"][1])


def test_copies_that_are_no_longer_equal_are_refused_in_a_sentence(ranks):
    for rank in ranks:
        step, *others = rank["by rank"]
        for said in [*others, step]:
            assert "stages on ranks 0 and 1 share parameter '0.weight', but" in said
            assert "no longer equal" in said
        assert "no longer equal" in rank["frozen by one"]


def test_a_tied_weight_may_be_frozen_in_all_stages(ranks):
    for rank in ranks:
        assert rank["frozen by all"] == (False, [True])


def test_what_is_used_in_several_places_is_known_of_any_chain():
    class Looped(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.a(self.b(self.a(x).tanh()).tanh())

    assert reused(chain(ends()[0])) == {"0.weight"}
    assert reused(chain(middle()[0])) == {"2.weight", "2.bias"}
    for largest in (16, 1):
        whole = chain(Looped(), torch.randn(3, 4), largest=largest)
        assert reused(whole) == {"a.weight", "a.bias"}
