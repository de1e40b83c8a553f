"""Runs that several tests look at."""

import pytest
from training.runs import NOISY, started, workplace


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory):
    """A run with all that is random, and that torchrun has started; and what it printed."""
    folder = workplace(tmp_path_factory.mktemp("whole"))
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m")
    process = started(folder, *NOISY, launcher=(*launcher, "pprs"))
    try:
        out, said = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 0, (out, said)
    return folder / "runs" / "train", out
