"""Settings of every test."""

import os
import signal
from pathlib import Path

# Several test processes share the cores, each with processes of its own: where all of them have as
# many threads as there are cores, the threads of one mostly wait for those of another.
os.environ["OMP_NUM_THREADS"] = "1"

import amount  # noqa: F401 (the property tests' settings)
import pytest
import torch
import warm
from browser import chromium, page  # noqa: F401 (fixtures)
from on_device import OnDevice

ROOT = Path(__file__).parent.parent

torch.set_num_threads(1)
# Tables are as wide, and as plain, as in a file.
for name in ("COLUMNS", "LINES", "FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE"):
    os.environ.pop(name, None)
# As a terminal has them, for the processes that tests start, too: background jobs ignore some.
signal.signal(signal.SIGINT, signal.default_int_handler)
for name in {"SIGHUP", "SIGQUIT", "SIGTERM", "SIGCHLD"} & {*dir(signal)}:
    signal.signal(getattr(signal, name), signal.SIG_DFL)


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="where tests make tensors: cpu or cuda")


def pytest_configure(config):
    if config.option.device == "cpu":
        torch.set_warn_always(True)  # what it says once in a process, any test may be first to meet
    else:  # from here on, for what test files make when imported too
        OnDevice(torch.device(config.option.device)).__enter__()


def pytest_collection_modifyitems(items):
    """Mark what is outside the product; the other marks are with the tests. Slow files first."""
    for item in items:
        if {"experiments", "benchmarks"} & {*item.path.relative_to(ROOT).parts}:
            item.add_marker("experiments")
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)  # else all wait for one at the end


@pytest.fixture(autouse=True, scope="session")
def _warm():
    """The library's processes start warm; tests of starting itself take `cold`."""
    with warm.starting(warm.Context()):
        yield


@pytest.fixture
def cold():
    """The library's processes start as they do for a user."""
    with warm.starting(warm.COLD):
        yield
