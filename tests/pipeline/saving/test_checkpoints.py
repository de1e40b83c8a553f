"""Checkpoints exist completely or not at all, and a run goes on from one bit for bit.

Real processes, real signals, real limits of the file system; nothing waits for a clock.
"""

import json
import math
import os
import pickle
import re
import resource
import shutil
import signal
import sys
import threading
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st

import pprs
from pprs.pipeline import LaunchError, Pipeline, launch
from pprs.pipeline.saving import checkpoints as checkpoint
from pprs.pipeline.saving import shards
from pprs.pipeline.saving.checkpoints import CheckpointError, Checkpoints
from pprs.pipeline.saving.shards import verify
from pprs.pipeline.saving.state import belongs_to, load_optimizer_state, optimizer_state
from pprs.tasks.losses import hinge
from pprs.tasks.networks import relu_network

SIZES, HALF, STEPS = (1, 2, 4), 4, 8


def numbered(folder):
    return sorted(path.name for path in folder.iterdir())


def saved(folder, *steps, keep=10, **tensors):
    """A folder with a checkpoint of each step, whose tensor ``x`` is the step three times."""
    with Checkpoints(folder, keep=keep) as checkpoints:
        for step in steps:
            tensors["x"] = torch.full((3,), float(step))
            checkpoints.save(step, tensors, {"step": step})
    return checkpoints


def loaded(checkpoints, path=None):
    x = torch.zeros(3)
    numbers = checkpoints.load(path or checkpoints.latest(), {"x": x})
    assert torch.equal(x, torch.full((3,), float(numbers["step"])))
    return numbers["step"]


# --- going on with a run


def run(group, optimizer_name):
    """A pipeline over a group with its optimizer, and its batch."""
    generator = torch.Generator().manual_seed(0)
    network = relu_network(6, 12, 3, 8, generator=generator, dtype=torch.float64)
    x, y = torch.randn(9, 6, generator=generator, dtype=torch.float64), torch.arange(9) % 3
    pipeline = Pipeline(network, hinge, sigma=0.05, samples=8, microbatches=4, seed=11, group=group)
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
    """``(optimizer, ranks, ranks that wrote the checkpoint)``: all tensors, half way and last."""
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
    if rank == 1:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
    tried("disk", lambda: save(3, mine, {}))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
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


def flip(path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


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
            safetensors.torch.save_file = half_a_file
        checkpoints.save(2, {f"x{dist.get_rank()}": torch.ones(100)}, {})


def half_a_file(tensors, path):
    data = safetensors.torch.save(tensors)
    Path(path).write_bytes(data[: len(data) // 2])
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_rank_killed_while_it_writes_leaves_the_checkpoint_before(launched):
    folder, ended = launched
    assert re.match("rank 1 .* was killed by SIGKILL", ended)
    checkpoints = Checkpoints(folder / "kill")
    assert checkpoints.latest().name == "000001-step-1"
    assert any((folder / "kill").glob(".partial-000002-step-2/rank-1.safetensors"))
    x = {f"x{rank}": torch.zeros(100) for rank in range(max(SIZES))}
    checkpoints.load(checkpoints.latest(), x)
    assert all(torch.equal(value, torch.ones(100)) for value in x.values())


# --- killed at any moment


def in_a_child(work):
    """The exit status of ``work`` in a copy of this process."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)  # a failure shows in what it leaves
    return os.waitpid(pid, 0)[1]


def save_until(folder, moment):
    """Save step 3, killed before the file operation of that number, from 1."""
    seen = 0

    def count(event, args):
        nonlocal seen
        if event.startswith(("open", "os.", "shutil.")) and str(folder) in str(args):
            seen += 1
            if seen == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    saved(folder, 3, keep=2)


def test_a_run_killed_at_any_moment_leaves_only_complete_checkpoints(tmp_path):
    saved(tmp_path / "before", 1, 2)
    moment, status, latest = 0, signal.SIGKILL, set()
    while status == signal.SIGKILL:
        moment += 1
        folder = tmp_path / str(moment)
        shutil.copytree(tmp_path / "before", folder)
        status = in_a_child(lambda: save_until(folder, moment))  # noqa: B023
        left = [path for path in folder.iterdir() if not path.name.startswith(".")]
        for path in left:
            verify(path)
        latest.add(loaded(Checkpoints(folder, keep=2)))
        assert len(left) >= 2
        loaded(saved(folder, 4, keep=2))
        assert len(numbered(folder)) == 2  # no remains
    assert status == 0
    assert moment > 8
    assert latest == {2, 3}


def test_half_a_file_is_no_checkpoint(tmp_path, monkeypatch):
    saved(tmp_path, 1)
    monkeypatch.setattr(safetensors.torch, "save_file", half_a_file)
    assert in_a_child(lambda: saved(tmp_path, 2)) == signal.SIGKILL
    assert any(tmp_path.glob(".partial-*/rank-0.safetensors"))
    assert loaded(Checkpoints(tmp_path)) == 1


# --- when, and how many


def test_a_save_is_due_every_so_many_steps(tmp_path):
    checkpoints = Checkpoints(tmp_path, every=3)
    assert [step for step in range(10) if checkpoints.due(step)] == [3, 6, 9]
    assert not any(Checkpoints(tmp_path).due(step) for step in range(10))


def test_a_save_is_due_so_many_minutes_after_the_last(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr(checkpoint, "monotonic", lambda: now)
    with Checkpoints(tmp_path, minutes=2) as checkpoints:
        now += 119
        assert not checkpoints.due(1)
        now += 1
        assert checkpoints.due(1)
        checkpoints.save(1, {}, {})
        now += 119
        assert not checkpoints.due(2)


def test_the_newest_complete_ones_are_kept(tmp_path):
    checkpoints = saved(tmp_path, 10, 20, 30, keep=2)
    assert numbered(tmp_path) == ["000002-step-20", "000003-step-30"]
    (checkpoints.latest() / "rank-0.safetensors").unlink()
    saved(tmp_path, 40, keep=2)  # the damaged one does not count
    assert numbered(tmp_path) == ["000002-step-20", "000003-step-30", "000004-step-40"]


def test_after_going_back_the_newest_is_the_one_written_last(tmp_path):
    saved(tmp_path, 10, 20, 30)
    assert loaded(saved(tmp_path, 20, keep=1)) == 20
    assert numbered(tmp_path) == ["000004-step-20"]


def test_without_checkpoints_there_is_no_latest(tmp_path):
    assert Checkpoints(tmp_path / "new").latest() is None
    (tmp_path / ".partial-000001-step-1").mkdir()
    (tmp_path / "notes").mkdir()
    assert Checkpoints(tmp_path).latest() is None


# --- in the background


def test_what_changes_after_save_is_not_saved(tmp_path, monkeypatch):
    begun, write = threading.Event(), safetensors.torch.save_file

    def waits(*args):
        assert begun.wait(60)
        write(*args)

    monkeypatch.setattr(safetensors.torch, "save_file", waits)
    x, numbers = torch.full((3,), 1.0, requires_grad=True), {"step": 1}
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"x": x}, numbers)
    assert checkpoints.latest() is None
    x.detach().zero_()
    numbers["step"] = 0
    begun.set()
    checkpoints.close()
    assert loaded(checkpoints) == 1


@pytest.mark.parametrize("call", ["save", "close"])
def test_the_next_call_tells_of_a_failure_and_the_one_after_goes_on(tmp_path, monkeypatch, call):
    checkpoints = saved(tmp_path, 1)

    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(safetensors.torch, "save_file", full)
        checkpoints.save(2, {"x": torch.ones(3)}, {})
        with pytest.raises(CheckpointError, match="step 2 was not saved: .*No space left.*as they"):
            checkpoints.save(3, {}, {}) if call == "save" else checkpoints.close()
    checkpoints.close()
    assert numbered(tmp_path) == ["000001-step-1"]
    assert loaded(saved(tmp_path, 4)) == 4


def test_a_full_disk_at_the_manifest_leaves_no_half(tmp_path):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    checkpoints = saved(tmp_path, 1)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, limit[1]))
        checkpoints.save(2, {"x": torch.ones(3)}, {"text": "long" * 1000})
        with pytest.raises(CheckpointError, match=r"manifest\.json: File too large"):
            checkpoints.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert numbered(tmp_path) == ["000001-step-1"]


def test_after_an_error_the_block_does_not_wait(tmp_path, monkeypatch):
    never, ended = threading.Event(), threading.Event()
    monkeypatch.setattr(
        safetensors.torch, "save_file", lambda *args: never.wait(60) and ended.set()
    )
    with pytest.raises(ArithmeticError), Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"x": torch.ones(3)}, {})
        raise ArithmeticError
    assert not ended.is_set()
    never.set()
    with pytest.raises(CheckpointError):  # what was written is no safetensors file
        checkpoints.close()


# --- damage


def truncated(folder):
    path = folder / "rank-0.safetensors"
    os.truncate(path, path.stat().st_size - 1)
    return path


def flipped(folder):
    flip(folder / "rank-0.safetensors")
    return folder / "rank-0.safetensors"


def header(folder):
    path = folder / "rank-0.safetensors"
    path.write_bytes(path.read_bytes().replace(b"F32", b"I32"))
    return path


def missing(folder):
    (folder / "rank-0.safetensors").unlink()
    return folder / "rank-0.safetensors"


def edited(folder):
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"step": ', '"step": 1'))
    return path


def halved(folder):
    path = folder / "manifest.json"
    os.truncate(path, path.stat().st_size // 2)
    return path


def newer(folder):
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace("checkpoint 1", "checkpoint 2"))
    return path


def nested(folder):
    (folder / "manifest.json").write_text("[" * 100_000)
    return folder / "manifest.json"


def pickled(folder):
    (folder / "manifest.json").write_bytes(pickle.dumps(Trap(folder)))
    return folder / "manifest.json"


def outside(folder):
    """With a right checksum: only the name gives it away."""
    path = folder / "manifest.json"
    (folder.parent / "rank-0.safetensors").write_bytes((folder / "rank-0.safetensors").read_bytes())
    whole = json.loads(path.read_text().replace("rank-0", "../rank-0"))
    whole["sha256"] = shards._sum(whole["body"])
    path.write_text(json.dumps(whole))
    return path


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, folder):
        self.path = str(folder / "unpickled")

    def __reduce__(self):
        return os.mkdir, (self.path,)


UNSEEN = (flipped, header)  # until the content is read
DAMAGES = (truncated, missing, edited, halved, newer, nested, pickled, outside)


@pytest.mark.parametrize("damage", [*DAMAGES, *UNSEEN])
def test_damage_is_named_with_a_checkpoint_that_is_intact(tmp_path, damage):
    checkpoints = saved(tmp_path, 1, 2)
    newest = checkpoints.latest()
    damaged, x = damage(newest), torch.zeros(3)
    with pytest.raises(CheckpointError) as caught:
        checkpoints.load(newest, {"x": x})
    assert str(caught.value).startswith(str(damaged))
    assert str(caught.value).endswith(f"Intact is {tmp_path / '000001-step-1'}")
    assert torch.equal(x, torch.zeros(3))
    assert not (newest / "unpickled").exists()
    assert loaded(checkpoints, tmp_path / "000001-step-1") == 1


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_latest_is_complete_and_a_damaged_newer_one_is_warned_of(tmp_path, damage):
    checkpoints = saved(tmp_path, 1, 2)
    damaged = damage(checkpoints.latest())
    with pytest.warns(UserWarning, match=f"{damaged.name}.* 000001-step-1 is complete"):
        assert loaded(checkpoints) == 1
    damage(tmp_path / "000001-step-1")
    with pytest.raises(CheckpointError, match="no checkpoint in .* is complete: .*step-2.*step-1"):
        checkpoints.latest()


def test_where_all_is_damaged_it_says_so(tmp_path):
    checkpoints = saved(tmp_path, 1, 2)
    for path in tmp_path.iterdir():
        flipped(path)
    with pytest.raises(CheckpointError, match="No other checkpoint in .* is intact"):
        loaded(checkpoints)


def test_a_pickle_in_the_folder_is_never_unpickled(tmp_path):
    checkpoints = saved(tmp_path, 1)
    newest = checkpoints.latest()
    for name in (".metadata", "__0_0.distcp", "rank-1.safetensors", "state.pt"):
        (newest / name).write_bytes(pickle.dumps(Trap(tmp_path)))
    assert loaded(checkpoints) == 1
    (newest / "rank-0.safetensors").write_bytes(pickle.dumps(Trap(tmp_path)))
    with pytest.raises(CheckpointError):
        loaded(checkpoints, newest)
    assert not (tmp_path / "unpickled").exists()


# --- what can be saved


def tensors_of_all_types():
    dtypes = st.sampled_from(
        [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.bool]
    )
    shapes = st.lists(st.integers(0, 3), max_size=3)
    return st.builds(random_bits, dtypes, shapes, st.integers(0, 2**32))


def random_bits(dtype, shape, seed):
    """Any bits but for truth values: also NaN, infinite and subnormal numbers."""
    size = torch.empty(shape, dtype=dtype).nbytes
    bits = torch.randint(256, (size,), generator=torch.Generator().manual_seed(seed)).byte()
    return (bits % 2 if dtype == torch.bool else bits).view(dtype).reshape(shape)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(max_size=9), tensors_of_all_types(), max_size=4))
def test_every_name_shape_and_type_comes_back_bit_for_bit(tmp_path_factory, tensors):
    folder = tmp_path_factory.mktemp("saves")
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, tensors, {})
    filled = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    checkpoints.load(checkpoints.latest(), filled)
    read, _ = checkpoints.read(checkpoints.latest(), lambda name: True)
    for found in (filled, read):
        assert found.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert found[name].shape == tensor.shape
            assert found[name].dtype == tensor.dtype
            assert bits(found[name]) == bits(tensor)


def bits(tensor):
    return tensor.reshape(-1).view(torch.uint8).tolist()


def test_numbers_come_back_as_they_are(tmp_path):
    numbers = {"lr": 0.1 + 0.2, "big": 2**80, "none": None, "list": [True, "é", {"a": -0.0}]}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(0, {}, numbers | {"inf": math.inf, "nan": math.nan})
    read = checkpoints.load(checkpoints.latest(), {})
    assert math.isnan(read.pop("nan"))
    assert read == numbers | {"inf": math.inf}
    assert math.copysign(1, read["list"][2]["a"]) == -1


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"scheduler": {"milestones": {3: 1}}}, r"numbers\['scheduler'\]\['milestones'\] .* got 3"),
        ({"x": [1, torch.ones(1)]}, r"numbers\['x'\]\[1\] must be a number.*tensor"),
    ],
)
def test_numbers_that_json_would_change_are_refused(tmp_path, numbers, message):
    with pytest.raises(ValueError, match=message):
        Checkpoints(tmp_path).save(1, {}, numbers)


def test_a_type_that_cannot_be_saved_is_named(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"z": torch.ones(2, dtype=torch.complex128)}, {})
    with pytest.raises(CheckpointError, match="safetensors has no type torch.complex128"):
        checkpoints.close()


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"x": torch.zeros(3), "y": torch.zeros(3)}, "step 1 does not hold 'y'"),
        ({"x": torch.zeros(3, 1)}, r"'x' has shape \[3, 1\] and type float32, .* shape \[3\]"),
        ({"x": torch.zeros(3).double()}, "type float64, but .* type float32"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path, tensors, message):
    checkpoints = saved(tmp_path, 1)
    with pytest.raises(ValueError, match=message):
        checkpoints.load(checkpoints.latest(), tensors)
    assert not any(tensor.any() for tensor in tensors.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(every=0), "every must be an integer of at least 1, got 0"),
        (dict(minutes=-1.0), "minutes must be a finite number above 0, got -1.0"),
        (dict(keep=0), "keep must be an integer of at least 1, got 0"),
    ],
)
def test_wrong_numbers_are_named(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        Checkpoints(tmp_path, **options)


@pytest.mark.parametrize("step", [-1, True, 1.0])
def test_a_step_that_is_no_count_is_refused(tmp_path, step):
    with pytest.raises(ValueError, match=f"step must be an integer of at least 0, got {step}"):
        Checkpoints(tmp_path).save(step, {}, {})
