"""Where the stack of a rank that failed is said to be."""

import pytest

from pprs.pipeline import LaunchError
from pprs.training.rank_log import log_sizes, with_log

ERROR = LaunchError("rank 0 failed with ValueError: a", 0, "at line 1")


@pytest.fixture
def log(tmp_path):
    return tmp_path / "rank-0.log"


def test_it_is_in_the_log_that_the_rank_has_written(log):
    before = log_sizes(log.parent)
    log.write_text("at line 1")
    said = f"rank 0 failed with ValueError: a; its stack is in {log}"
    assert with_log(ERROR, log.parent, before) == said


@pytest.mark.parametrize("old", ["", "of another failure"])
def test_it_is_said_itself_where_the_log_has_nothing_of_it(log, old):
    log.write_text(old)  # as on a full disk, or by a run before this one
    before = log_sizes(log.parent)
    assert with_log(ERROR, log.parent, before) == str(ERROR)
    assert "at line 1" in str(ERROR)
