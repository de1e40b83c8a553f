"""Memory that a process frees stays with it."""

import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, resource, torch
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: a large page is one fault or 512
from pprs.pipeline.running.memory import keep_freed_memory
told = {told} and keep_freed_memory()
network = torch.nn.Sequential(*[torch.nn.Linear(1152, 1152) for _ in range(4)])
def fetched():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        network.zero_grad()
        network(torch.ones(16, 1152)).sum().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
fetched()
print(int(told), fetched())
"""


def run(told):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(told=told)],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return [int(word) for word in done.stdout.split()]


def test_freed_blocks_are_not_fetched_from_the_system_again():
    told, kept = run(told=True)
    if not told:
        pytest.skip("this C library's allocator cannot be told")
    _, fetched = run(told=False)
    assert kept < fetched / 10  # its gradients are 50,000 pages
