"""Settings of every test."""

import os

# Several test processes share the cores, each with processes of its own: where all of them have as
# many threads as there are cores, the threads of one mostly wait for those of another.
os.environ["OMP_NUM_THREADS"] = "1"

import amount  # noqa: F401 (the property tests' settings)
import pytest
import torch
import warm

torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _warm():
    """The library's processes start warm; tests of starting itself take ``cold``."""
    with warm.starting(warm.Context()):
        yield


@pytest.fixture
def cold():
    """The library's processes start as they do for a user."""
    with warm.starting(warm.COLD):
        yield
