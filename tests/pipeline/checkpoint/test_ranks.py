"""Several ranks save and read, fail and are killed: real processes and signals."""

import json
import math
import pickle
import re
import resource

import pytest
import torch
import torch.distributed as dist
from pipeline.checkpoint.folders import flip, half_a_file, numbered

import pprs
from pprs.compare.network import relu_network
from pprs.pipeline import LaunchError, Pipeline, launch
from pprs.pipeline.checkpoint import checkpoints as checkpoint
from pprs.pipeline.checkpoint import shard
from pprs.pipeline.checkpoint.checkpoints import CheckpointError, Checkpoints
from pprs.pipeline.checkpoint.named_optimizer_state import (
    belongs_to,
    load_optimizer_state,
    optimizer_state,
)
from pprs.training.losses import hinge

pytestmark = [pytest.mark.dist, pytest.mark.slow]
SIZES, HALF, STEPS = (1, 2, 4), 2, 4


# --- going on with a run


def run(group, optimizer_name):
    """A pipeline over a group with its optimizer, and its batch."""
    generator = torch.Generator().manual_seed(0)
    network = relu_network(6, 12, 3, 4, generator=generator, dtype=torch.float64)
    x, y = torch.randn(9, 6, generator=generator, dtype=torch.float64), torch.arange(9) % 3
    pipeline = Pipeline(
        network, hinge, sigma=0.05, samples=4, microbatches=4, seed=11, group=group, check=False
    )  # fmt: skip
    names = pipeline.named_parameters()
    groups = [
        {"params": [p for n, p in names.items() if n.endswith(end)], "lr": lr}
        for end, lr in (("weight", 0.05), ("bias", 0.02))
    ]
    build = {"AGD": lambda: pprs.AGD(groups, 0.1, "nesterov"), "Adam": lambda: adam(groups)}
    return pipeline, build[optimizer_name](), (x, y)


def adam(groups):
    return torch.optim.Adam(groups, betas=(0.8, 0.99))


def steps(pipeline, optimizer, batch, count):
    for _ in range(count):
        pipeline.step(*batch)
        optimizer.step()


def state(pipeline, optimizer):
    names = pipeline.named_parameters()
    tensors, numbers = optimizer_state(optimizer, names)
    return tensors | {f"model.{n}": p for n, p in names.items()}, {"optimizer": numbers}


def copied(pipeline, optimizer):
    return {name: t.detach().clone() for name, t in state(pipeline, optimizer)[0].items()}


def uninterrupted(folder, group, name):
    """Save half way and go on at once: what is saved half way, and the end."""
    pipeline, optimizer, batch = run(group, name)
    with Checkpoints(folder, every=HALF, keep=1, group=group) as checkpoints:
        steps(pipeline, optimizer, batch, HALF)
        assert checkpoints.due(HALF)
        tensors, numbers = state(pipeline, optimizer)
        checkpoints.save(HALF, tensors, numbers | {"step": HALF})
        half = copied(pipeline, optimizer)
        steps(pipeline, optimizer, batch, STEPS - HALF)
    return half, copied(pipeline, optimizer)


def resumed(folder, group, name):
    """The same from a checkpoint, which another number of processes may have written."""
    pipeline, optimizer, batch = run(group, name)
    checkpoints = Checkpoints(folder, group=group)
    path, names = checkpoints.latest(), pipeline.named_parameters()
    numbers = checkpoints.load(path, {f"model.{n}": p for n, p in names.items()})
    tensors, _ = checkpoints.read(path, belongs_to(names))
    load_optimizer_state(optimizer, names, tensors, numbers["optimizer"])
    for stage in pipeline.local.values():
        stage.step = numbers["step"]
    half = copied(pipeline, optimizer)
    steps(pipeline, optimizer, batch, STEPS - numbers["step"])
    return half, copied(pipeline, optimizer)


def worker(folder):
    """In one launch all that needs several ranks; a rank that is killed is the end of it."""
    groups = {size: dist.new_group(list(range(size))) for size in SIZES}
    resumes(folder / "resume", groups)
    if dist.get_rank() < 2:
        fails(folder / "fail", groups[2])
    is_killed(folder / "kill")


def resumes(folder, groups):
    """In groups of 1, 2 and 4 ranks; each rank writes what it has seen."""
    mine = [size for size in SIZES if dist.get_rank() < size]
    seen = {}
    for name in ("AGD", "Adam"):
        for size in mine:
            seen[name, size, None] = uninterrupted(folder / f"{name}{size}", groups[size], name)
        dist.barrier()
        for size in mine:
            for before in SIZES:
                seen[name, size, before] = resumed(folder / f"{name}{before}", groups[size], name)
    (folder / f"{dist.get_rank()}.pickle").write_bytes(pickle.dumps(seen))


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """The folder of the launch, and how it ended."""
    folder = tmp_path_factory.mktemp("launched")
    with pytest.raises(LaunchError) as caught:
        launch(worker, max(SIZES), folder)
    return folder, str(caught.value)


@pytest.fixture(scope="module")
def runs(launched):
    """`(optimizer, ranks, ranks that wrote the checkpoint)`: all tensors, half way and last."""
    merged = {}
    for rank in range(max(SIZES)):
        seen = pickle.loads((launched[0] / "resume" / f"{rank}.pickle").read_bytes())
        for key, moments in seen.items():
            whole = merged.setdefault(key, ({}, {}))
            for tensors, some in zip(whole, moments, strict=True):
                assert not tensors.keys() & some.keys()
                tensors.update(some)
    return merged


def same(a, b):
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", ["AGD", "Adam"])
@pytest.mark.parametrize("ranks", SIZES)
def test_an_interrupted_run_ends_as_an_uninterrupted_one(runs, name, ranks):
    half, end = runs[name, ranks, None]
    assert same(runs[name, ranks, ranks][0], half)
    assert same(runs[name, ranks, ranks][1], end)
    assert not same(half, end)
    moments = {"y"} if name == "AGD" else {"exp_avg", "exp_avg_sq", "step"}
    kinds = {tensor.rpartition(".")[2] for tensor in half}
    assert kinds == moments | {"weight", "bias", "param_group"}


@pytest.mark.parametrize("name", ["AGD", "Adam"])
@pytest.mark.parametrize("after", SIZES)
@pytest.mark.parametrize("before", SIZES)
def test_a_checkpoint_loads_into_another_number_of_stages(runs, name, before, after):
    half, end = runs[name, after, before]
    assert same(half, runs[name, before, None][0])
    for tensor, value in runs[name, before, None][1].items():
        torch.testing.assert_close(end[tensor], value, rtol=1e-10, atol=1e-12)


# --- several ranks and failures


def fails(folder, group):
    """Everything that may go wrong with two ranks; each writes what it was told."""
    rank = dist.get_rank()
    checkpoints, said = Checkpoints(folder, minutes=5, keep=9, group=group), {}

    def tried(name, call):
        try:
            call()
        except (CheckpointError, ValueError) as error:
            said[name] = f"{type(error).__name__}: {error}"
        said[f"{name}, left"] = checkpoints.latest().name
        dist.barrier(group)

    def save(step, tensors, numbers):
        checkpoints.save(step, tensors, numbers)
        checkpoints.close()

    mine = {f"x{rank}": torch.full((1000,), float(rank))}
    save(1, mine, {})
    save(2, mine, {})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if rank == 1:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    tried("disk", lambda: save(3, mine, {}))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    if rank == 0:
        said["files after disk"] = numbered(folder)
    dist.barrier(group)
    tried("numbers", lambda: save(3, mine, {"seed": rank}))
    tried("names", lambda: save(3, {"x": torch.ones(1)}, {}))
    save(3, mine, {"one": 1} if rank == 0 else {"nan": math.nan})

    checkpoint.monotonic = lambda: 1e9 if rank == 1 else checkpoints._last
    said["due by the clock of rank 1"] = checkpoints.due(5)
    checkpoint.monotonic = lambda: 1e9 if rank == 0 else checkpoints._last
    said["due by the clock of rank 0"] = checkpoints.due(5)

    path = checkpoints.latest()
    other = {f"x{1 - rank}": torch.zeros(1000)}
    said["numbers"] = [said["numbers"], checkpoints.load(path, other)["one"]]
    said["crossed"] = other[f"x{1 - rank}"].mean().item()
    x = torch.zeros(1000)
    tried("shape", lambda: checkpoints.load(path, {"x0": x if rank == 0 else x[:7]}))
    if rank == 0:
        flip(path / "rank-1.safetensors")
    dist.barrier(group)
    tried("damage", lambda: checkpoints.load(path, {f"x{rank}": x}))
    said["untouched"] = x.abs().sum().item() == 0
    (folder / f"{rank}.json").write_text(json.dumps(said))


@pytest.fixture(scope="module")
def failures(launched):
    return [json.loads((launched[0] / "fail" / f"{rank}.json").read_text()) for rank in range(2)]


def test_a_full_disk_of_one_rank_is_told_on_all_and_leaves_no_half(failures):
    for said in failures:
        assert "step 3 was not saved: rank 1: cannot write" in said["disk"]
        assert "rank-1.safetensors: " in said["disk"]
        assert "File too large" in said["disk"]
        assert said["disk, left"] == "000002-step-2"
    assert failures[0]["files after disk"] == ["000001-step-1", "000002-step-2"]


def test_ranks_that_contradict_each_other_save_nothing(failures):
    for said in failures:
        assert "rank 1 has numbers['seed']=1, but a rank before it has 0" in said["numbers"][0]
        assert "rank-0.safetensors and rank 1 both hold 'x'" in said["names"]
        assert said["numbers, left"] == said["names, left"] == "000002-step-2"


def test_numbers_of_different_names_are_joined_and_ranks_read_what_others_wrote(failures):
    for rank, said in enumerate(failures):
        assert said["numbers"][1] == 1
        assert said["crossed"] == 1 - rank


def test_all_ranks_follow_the_clock_of_the_first(failures):
    for said in failures:
        assert not said["due by the clock of rank 1"]
        assert said["due by the clock of rank 0"]


def test_what_one_rank_cannot_load_fails_on_all_and_changes_nothing(failures):
    for said in failures:
        assert "ValueError: rank 1: 'x0' has shape [7] and type float32" in said["shape"]
        assert "000003-step-3/rank-1.safetensors is damaged: the checksum of 'x1'" in said["damage"]
        assert said["damage"].startswith("CheckpointError: rank 1: ")
        assert said["damage"].endswith("000002-step-2")
        assert said["untouched"]


def is_killed(folder):
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, {f"x{dist.get_rank()}": torch.ones(100)}, {})
        checkpoints.close()
        if dist.get_rank() == 1:
            shard.settle = half_a_file
        checkpoints.save(2, {f"x{dist.get_rank()}": torch.ones(100)}, {})


def test_a_rank_killed_while_it_writes_leaves_the_checkpoint_before(launched):
    folder, ended = launched
    assert re.match("rank 1 .* was killed by SIGKILL", ended)
    checkpoints = Checkpoints(folder / "kill")
    assert checkpoints.latest().name == "000001-step-1"
    assert any((folder / "kill").glob(".partial-000002-step-2/rank-1.safetensors"))
    x = {f"x{rank}": torch.zeros(100) for rank in range(max(SIZES))}
    checkpoints.load(checkpoints.latest(), x)
    assert all(torch.equal(value, torch.ones(100)) for value in x.values())
