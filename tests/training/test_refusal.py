"""What one rank refuses, where no launcher stops the others."""

import pytest
import warm
from training.runs import workplace

pytestmark = [pytest.mark.dist, pytest.mark.slow]

OPTIMIZER = """
import os
from torch.optim import SGD

def made(parameters, lr=0.1):
    if os.environ["RANK"] == "{rank}":
        raise ArithmeticError("not here")
    return SGD(parameters, lr=lr)
"""


@pytest.mark.parametrize("rank", [0, 1])
def test_an_optimizer_that_one_rank_refuses_ends_all_with_its_words(tmp_path, rank):
    folder = workplace(tmp_path)
    (folder / "mine.py").write_text(OPTIMIZER.format(rank=rank))
    arguments = ["--model", "user.py:mlp", "--data", "user.py:data", "--steps", "1"]
    ranks = warm.torchrun(2, "pprs", "train", *arguments, "--optimizer", "mine.py:made", cwd=folder)
    why = r"optimizer=mine.py:made failed: ArithmeticError: not here (mine.py, line 7)"
    assert (ranks[rank].returncode, ranks[1 - rank].returncode) == (2, 1)
    assert ranks[rank].stderr.endswith(f"pprs: {why}\n")
    assert ranks[1 - rank].stderr.endswith(f"pprs: rank {rank} refuses: {why}\n")
    assert not (folder / "runs").exists()
