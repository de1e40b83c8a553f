"""`pprs train --lr search`: the step size is found while training."""

import os
import signal
import sys
from itertools import pairwise

import pytest
import warm
from training.runs import metrics, same_bytes, summary, trained, without_time, workplace
from waiting import wait

from pprs.training import TrainConfig

USUAL = [
    "--data", "user.py:noisy", "--model", "user.py:mlp_with_dropout", "--batch", "8", "--steps",
    "12", "--optimizer", "adam", "--lr", "search", "--samples", "6", "--clip", "0.1",
]  # fmt: skip


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has other signals")
def test_a_searched_run_that_was_interrupted_ends_bit_for_bit(tmp_path):
    folders = [tmp_path / name for name in ("whole", "parts")]
    for folder in folders:
        folder.mkdir()
        workplace(folder)
    trained(folders[0], *USUAL)
    whole, run = (folder / "runs" / "train" for folder in folders)
    waiting = folders[1] / "waiting"
    waiting.mkdir()
    process = warm.Started("pprs", "train", *USUAL, cwd=folders[1], env={"WAIT": waiting})
    try:
        # Until both ranks are in the middle of a step.
        wait(lambda: process.returncode is not None or len(list(waiting.iterdir())) == 2)
        assert process.returncode is None, process.communicate()
        os.kill(process.pid, signal.SIGTERM)
        process.communicate()
    finally:
        process.kill()
    assert 0 < summary(run)["step"] < 12
    said = trained(folders[1], "--resume", "runs/train", "--lr", "0.1", code=2)
    assert "has the state of SearchedStep of Adam, so the run cannot go on with Adam" in said
    trained(folders[1], "--resume", "runs/train")
    assert same_bytes(run, whole)
    assert without_time(run) == without_time(whole)
    records = metrics(run)
    ratios = {round(b["lr"] / a["lr"], 3) for a, b in pairwise(records)}
    assert ratios <= {0.7, 1.0, 1.4}
    assert len(ratios) > 1
    assert all(record["gradient_norm"] > 0 for record in records)
    assert summary(run)["microbatches"] == 3


@pytest.mark.slow
def test_an_optimizer_that_cannot_be_searched_is_refused_before_the_start(tmp_path):
    said = trained(workplace(tmp_path), *USUAL, "--optimizer", "torch.optim:Rprop", code=2)
    assert "Rprop cannot be searched" in " ".join(said.split())
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"samples": 4}, "samples must be a multiple of 3: got 4"),
        ({"decay": "cosine"}, "decay=cosine changes a step size that lr=search finds"),
        ({"warmup": 3}, "warmup=3 changes a step size that lr=search finds"),
        ({"accumulate": 2}, "accumulate=2 adds up gradients at one point"),
        ({"split": "examples"}, "split=examples divides a batch"),
        ({"microbatches": 2}, "microbatches must be a multiple of 3: got 2"),
        ({"sigma": 0.0}, "pass a sigma, or samples=3"),
        ({"lr": "fast"}, 'lr must be above 0 or "search", got fast'),
    ],
)
def test_what_a_search_cannot_go_with_is_refused(changes, said):
    given = dict(model="a:b", data="c:d", steps=2, lr="search", optimizer="adam", samples=6)
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        TrainConfig(**given | changes)


def test_microbatches_are_shared_evenly_by_the_three_steps():
    given = dict(model="a:b", data="c:d", steps=2, lr="search", optimizer="adam", samples=12)
    assert TrainConfig(**given).microbatches_of(batch=8) == 3
    assert TrainConfig(**given, replicas=2).microbatches_of(batch=8) == 6
    assert TrainConfig(**given | {"samples": 3, "sigma": 0.0}).microbatches_of(batch=8) == 3
