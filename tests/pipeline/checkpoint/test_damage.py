"""What happens to the files of a checkpoint is found, and named."""

import json
import os
import pickle

import pytest
import torch
from pipeline.checkpoint.folders import flip, loaded, saved

from pprs.pipeline.checkpoint import storage
from pprs.pipeline.checkpoint.checkpoints import CheckpointError


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
    whole["sha256"] = storage._sum(whole["body"])
    path.write_text(json.dumps(whole))
    return path


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, folder):
        self.path = str(folder / "unpickled")

    def __reduce__(self):
        return os.mkdir, (self.path,)


DAMAGES = (
    truncated, missing, edited, halved, newer, nested, pickled, outside, flipped, header,
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
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
def test_the_latest_is_intact_and_a_damaged_newer_one_is_warned_of(tmp_path, damage):
    checkpoints = saved(tmp_path, 1, 2)
    damaged = damage(checkpoints.latest())
    with pytest.warns(UserWarning, match=f"{damaged.name}.* 000001-step-1 is intact"):
        assert loaded(checkpoints) == 1
    damage(tmp_path / "000001-step-1")
    with pytest.raises(CheckpointError, match="no checkpoint in .* is intact: .*step-2.*step-1"):
        checkpoints.latest()


@pytest.mark.parametrize("damage", DAMAGES)
def test_without_contents_the_latest_is_intact_by_its_manifest_and_sizes(tmp_path, damage):
    checkpoints = saved(tmp_path, 1, 2)
    newest = checkpoints.latest()
    damaged = damage(newest)
    if damage in (flipped, header):
        assert checkpoints.latest(contents=False) == newest
    else:
        with pytest.warns(UserWarning, match=f"{damaged.name}.* 000001-step-1 is intact"):
            assert checkpoints.latest(contents=False) == tmp_path / "000001-step-1"


def test_where_all_is_damaged_it_says_so(tmp_path):
    checkpoints = saved(tmp_path, 1, 2)
    newest = checkpoints.latest()
    for path in tmp_path.iterdir():
        flipped(path)
    with pytest.raises(CheckpointError, match="No other checkpoint in .* is intact"):
        loaded(checkpoints, newest)


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
