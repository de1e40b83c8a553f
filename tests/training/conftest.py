"""Runs that several tests look at, and where they work."""

from contextlib import chdir

import pytest
import warm
from training.runs import NOISY, workplace


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory):
    """A run with all that is random, in processes of torchrun's; and what they printed."""
    folder = workplace(tmp_path_factory.mktemp("whole"))
    ranks = warm.torchrun(2, "pprs", "train", *NOISY, cwd=folder)
    assert [done.returncode for done in ranks] == [0, 0], ranks
    return folder / "runs" / "train", "".join(done.stdout for done in ranks)


@pytest.fixture(name="workplace")
def _workplace(tmp_path):
    """A folder to work in, with a file to which a test adds functions."""
    with chdir(tmp_path):
        yield tmp_path / "mine.py"
