"""The page as a file, and a run to lay over it."""

import pytest
from pipeline.trace.handmade import timeline_of

from pprs.cli import main
from pprs.theory import Graph


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "explore.html"
    assert main(["explore", "--no-open", "--out", str(file)]) == 0
    return file


@pytest.fixture(scope="session")
def trace(tmp_path_factory):
    """A run of GPipe on three stages whose passes take the times of the schedule, in ms."""
    file = tmp_path_factory.mktemp("trace") / "t.json"
    graph = Graph.chain(3, forward=0.001, backward=0.002)
    timeline_of(graph, 4, "gpipe", steps=3).save(file)
    return file
