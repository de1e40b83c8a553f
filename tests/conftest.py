"""Settings of every test."""

import amount  # noqa: F401 (the property tests' settings)
import pytest
import torch
import warm

# Several test processes share the cores.
torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _warm():
    """The library's processes start warm; tests of starting itself take ``cold``."""
    with warm.starting(warm.Context()):
        yield


@pytest.fixture(scope="module")
def cold():
    """The library's processes start as they do for a user."""
    with warm.starting(warm.COLD):
        yield
