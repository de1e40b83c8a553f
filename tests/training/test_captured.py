"""`pprs train --capture` takes the steps that it takes without."""

import pytest
from training.runs import same_bytes, summary, trained, without_time, workplace

from pprs.training import TrainConfig

pytestmark = [pytest.mark.dist, pytest.mark.slow]
# Labels that do not count, in some batches; and a number in the loss that changes on the way.
CHANGING = """
import torch
import torch.nn.functional as F
from torch.utils.data import Dataset
from user import labelled

weight = 1.0

def loss(outputs, labels):
    return weight * F.cross_entropy(outputs, labels)

class Some(Dataset):
    def __init__(self, ignored):
        self.x, self.y = labelled(40)
        self.y[len(self) - ignored :] = -100
        self.given = 0

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        global weight
        self.given += 1
        weight = 1.0 if self.given < 40 else 2.0
        return self.x[i], self.y[i]

def counted():
    return Some(0)

def ignored():
    return Some(5)
"""
SMOOTHED = [
    "--model", "user.py:mlp", "--stages", "1", "--batch", "8", "--samples", "4", "--sigma", "0.05",
    "--optimizer", "adam", "--lr", "0.02", "--steps", "9",
]  # fmt: skip
CASES = {
    "labels that do not count": ["--data", "changing.py:ignored", "--accumulate", "2"],
    "a loss that changes": ["--data", "changing.py:counted", "--loss", "changing.py:loss"],
    "a searched step": ["--data", "user.py:data", "--lr", "search", "--samples", "6"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = workplace(tmp_path_factory.mktemp("captured"))
    (folder / "changing.py").write_text(CHANGING)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_the_weights_and_losses_are_those_without_it(folder, case):
    for name, how in (("plain", []), ("recorded", ["--capture"])):
        said = trained(folder, *SMOOTHED, *CASES[case], *how, "--name", f"{case} {name}")
        assert "not recorded" not in said
    plain, recorded = (folder / "runs" / f"{case} {name}" for name in ("plain", "recorded"))
    assert same_bytes(plain, recorded)
    assert without_time(plain) == without_time(recorded)


def test_a_run_that_is_gone_on_with_has_the_bytes_of_one_that_was_not(folder):
    how = [*SMOOTHED, "--data", "user.py:data", "--capture"]
    trained(folder, *how, "--name", "whole")
    trained(folder, *how, "--name", "parts", "--steps", "3")
    trained(folder, "--resume", "runs/parts", "--steps", "9")
    assert summary(folder / "runs" / "parts")["config"]["capture"] is True
    assert same_bytes(folder / "runs" / "whole", folder / "runs" / "parts")


def test_what_cannot_be_recorded_is_told_in_a_line(folder):
    how = [*SMOOTHED, "--capture", "--model", "user.py:mlp_with_dropout", "--data", "user.py:noisy"]
    said = trained(folder, *how, "--name", "dropout")
    (line,) = (line for line in said.splitlines() if "recorded" in line)
    assert line.startswith("steps are not recorded, which is slower but changes nothing else: its")
    assert "Warning" not in said


def test_what_it_does_not_go_with_is_refused():
    others = {"stages": 2, "microbatches": 4, "recompute": True}
    with pytest.raises(ValueError, match="not go with stages=2, microbatches=4, recompute=True"):
        TrainConfig("m:f", "m:f", sigma=0.1, samples=4, steps=1, capture=True, **others)
