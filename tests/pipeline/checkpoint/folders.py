"""Folders of checkpoints, made and looked at."""

import os
import signal

import torch

from pprs.pipeline.checkpoint.checkpoints import Checkpoints


def numbered(folder):
    return sorted(path.name for path in folder.iterdir())


def saved(folder, *steps, keep=10, **tensors):
    """A folder with a checkpoint of each step, whose tensor `x` is the step three times."""
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


def flip(path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def half_a_file(file):
    """In place of `shard.settle`: dies in the midst of writing."""
    file.flush()
    os.truncate(file.fileno(), file.tell() // 2)
    os.kill(os.getpid(), signal.SIGKILL)
