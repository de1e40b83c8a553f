"""What is left of a run that is interrupted early, and what is said about it."""

import os
import signal
import sys
from contextlib import suppress

import pytest
from training.runs import started, workplace

from pprs.training import Interrupted, TrainConfig
from pprs.training.ending import claimed


def config(out):
    return TrainConfig(model="a:b", data="a:c", steps=9, out=out)


def log(folder, steps):
    lines = [f'{{"step": {step}}}\n' for step in range(1, steps + 1)]
    (folder / "metrics.jsonl").write_text("".join(lines))


@pytest.mark.parametrize("error", [KeyboardInterrupt, Interrupted])
@pytest.mark.parametrize("out", [".", "new", "new/er"])
def test_before_the_first_step_nothing_is_left(tmp_path, out, error):
    before = sorted(tmp_path.rglob("*"))
    said = "^interrupted by SIGINT before the first step: nothing is kept$"
    with pytest.raises(Interrupted, match=said), claimed(config(tmp_path / out), None) as folder:
        log(folder, 0)
        (folder / "checkpoints").mkdir()
        raise error if error is KeyboardInterrupt else error.in_folder(signal.SIGINT, folder)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_others_have_written_stays(tmp_path):
    with pytest.raises(Interrupted), claimed(config(tmp_path / "new"), None) as folder:
        other = folder.parent / "train-2"
        other.mkdir()
        raise KeyboardInterrupt
    assert list((tmp_path / "new").iterdir()) == [other]


def test_steps_that_were_logged_and_not_saved_are_kept_and_named(tmp_path):
    said = rf"SIGINT: nothing was saved, from step 1 to 7; {tmp_path}/train keeps metrics\.jsonl$"
    with pytest.raises(Interrupted, match=said), claimed(config(tmp_path), None) as folder:
        log(folder, 7)
        raise KeyboardInterrupt
    assert (folder / "metrics.jsonl").exists()


def test_the_folder_of_a_run_that_goes_on_stays(tmp_path):
    with pytest.raises(Interrupted), claimed(config(tmp_path / "runs"), tmp_path):
        raise KeyboardInterrupt
    assert tmp_path.exists()


@pytest.mark.dist
@pytest.mark.skipif(sys.platform == "win32", reason="has other signals")
def test_an_interrupt_while_processes_start_leaves_no_folder(tmp_path):
    arguments = ["--model", "user.py:mlp", "--data", "user.py:data_that_never_come", "--steps", "9"]
    process = started(workplace(tmp_path), *arguments)
    try:
        lines = [process.stdout.readline() for _ in range(2)]
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
        _, said = process.communicate(timeout=600)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert lines == ["checking the model and the data…\n", "starting 2 processes…\n"], said
    assert process.returncode == 130
    assert said == "pprs: interrupted by SIGINT before the first step: nothing is kept\n"
    assert not (tmp_path / "runs").exists()
