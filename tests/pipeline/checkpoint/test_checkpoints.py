"""Checkpoints exist completely or not at all; real limits of the file system, no clocks."""

import math
import os
import resource
import shutil
import signal
import sys
import threading

import pytest
import torch
from amount import tries
from hypothesis import given
from hypothesis import strategies as st
from pipeline.checkpoint.contents import bits, tensors_of_all_types
from pipeline.checkpoint.folders import half_a_file, loaded, numbered, saved

from pprs.pipeline.checkpoint import checkpoints as checkpoint
from pprs.pipeline.checkpoint import shard
from pprs.pipeline.checkpoint.checkpoints import CheckpointError, Checkpoints
from pprs.pipeline.checkpoint.storage import verify

# --- killed at any moment


def in_a_child(work):
    """The exit status of `work` in a copy of this process."""
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


@pytest.mark.dist
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
    monkeypatch.setattr(shard, "settle", half_a_file)
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
    begun, write = threading.Event(), checkpoint.write_shard

    def waits(*args):
        assert begun.wait(60)
        return write(*args)

    monkeypatch.setattr(checkpoint, "write_shard", waits)
    x, numbers = torch.full((3,), 1.0, requires_grad=True), {"step": 1}
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"x": x}, numbers)
    assert checkpoints.latest() is None
    x.detach().zero_()
    numbers["step"] = 0
    begun.set()
    checkpoints.close()
    assert loaded(checkpoints) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="a priority is that of a whole process")
def test_writing_has_a_lower_priority_than_training(tmp_path, monkeypatch):
    seen, write = [], checkpoint.write_shard

    def noted(*args):
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return write(*args)

    monkeypatch.setattr(checkpoint, "write_shard", noted)
    saved(tmp_path, 1)
    here = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert seen[0] > here or here == 19


def test_a_save_reuses_the_memory_of_the_one_before_where_it_fits(tmp_path, monkeypatch):
    copies, write = [], checkpoint.write_shard

    def noted(folder, rank, tensors):
        copies.append(tensors)  # which keeps their memory from being given out again
        return write(folder, rank, tensors)

    monkeypatch.setattr(checkpoint, "write_shard", noted)
    with Checkpoints(tmp_path) as checkpoints:
        for x in (torch.zeros(3), torch.ones(3), torch.ones(2), torch.ones(2).double()):
            checkpoints.save(1, {"x": x, "y": 2 * x}, {})
            checkpoints.close()
            read, _ = checkpoints.read(checkpoints.latest(), lambda name: True)
            assert torch.equal(read["x"], x)
            assert torch.equal(read["y"], 2 * x)
            assert read["x"].dtype == x.dtype
    places = [tensors["x"].data_ptr() for tensors in copies]
    assert places[0] == places[1] != places[2]


def test_what_was_saved_in_inference_mode_is_saved_again_outside_of_it(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        with torch.inference_mode():
            checkpoints.save(1, {"x": torch.zeros(3)}, {"step": 1})
        checkpoints.save(2, {"x": torch.full((3,), 2.0)}, {"step": 2})
    assert loaded(checkpoints) == 2


def test_after_an_interrupted_wait_the_copies_are_not_written_over(tmp_path, monkeypatch):
    begun, write, join = threading.Event(), checkpoint.write_shard, checkpoint._Background.join

    def waits(*args):
        assert begun.wait(60)
        return write(*args)

    def interrupted(pending):
        raise KeyboardInterrupt

    def joined(pending):
        begun.set()
        join(pending)

    monkeypatch.setattr(checkpoint, "write_shard", waits)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"x": torch.full((3,), 1.0)}, {"step": 1})
    monkeypatch.setattr(checkpoint._Background, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.close()
    monkeypatch.setattr(checkpoint._Background, "join", joined)
    checkpoints.save(2, {"x": torch.full((3,), 2.0)}, {"step": 2})
    checkpoints.close()
    assert [loaded(checkpoints, tmp_path / name) for name in numbered(tmp_path)] == [1, 2]


@pytest.mark.parametrize("call", ["save", "close"])
def test_the_next_call_tells_of_a_failure_and_the_one_after_goes_on(tmp_path, monkeypatch, call):
    checkpoints = saved(tmp_path, 1)

    def full(file):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(shard, "settle", full)
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
    monkeypatch.setattr(shard, "settle", lambda file: never.wait(60) and ended.set())
    with pytest.raises(ArithmeticError), Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"x": torch.ones(3)}, {})
        raise ArithmeticError
    assert not ended.is_set()
    never.set()
    checkpoints.close()
    assert ended.is_set()


# --- what can be saved


@tries(40)
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
