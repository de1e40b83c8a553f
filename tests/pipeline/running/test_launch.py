"""Ranks that fail: real processes, real signals."""

import os
import re
import signal
import time

import pytest
import torch
import torch.distributed as dist

from pprs.pipeline import LaunchError, launch


def fails(how):
    dist.barrier()
    if dist.get_rank() == 1:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "raised":
            raise ArithmeticError("no such step")
        os._exit(3)
    dist.all_reduce(torch.ones(1))  # waits for the rank that is gone


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("killed", r"rank 1 \(of 2, process \d+\) was killed by SIGKILL"),
        ("left", r"rank 1 .* left with exit code 3; all ranks were stopped"),
        ("raised", r"rank 1 .* failed with ArithmeticError: no such step(.|\n)*in fails"),
    ],
)
def test_a_failing_rank_ends_all_with_its_name(how, message):
    start = time.monotonic()
    with pytest.raises(LaunchError, match=message) as caught:
        launch(fails, 2, how)
    assert time.monotonic() - start < 60  # far below the process group's own timeout
    pid = int(re.search(r"process (\d+)", str(caught.value))[1])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_torchrun_with_another_number_of_processes_is_refused(monkeypatch):
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "3",
        "MASTER_ADDR": "x",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        ValueError, match="torchrun started 3 processes.*need 2: .*--nproc-per-node 2"
    ):
        launch(fails, 2, "raised")
