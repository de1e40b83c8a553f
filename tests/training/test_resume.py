"""Runs that are interrupted, and go on as if they never had been."""

import errno
import math
import os
import re
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
import tomli_w
import warm
from training.runs import (
    NOISY,
    NOISY_STEPS,
    metrics,
    same_bytes,
    summary,
    trained,
    without_time,
    workplace,
)
from waiting import wait

from pprs.pipeline.checkpoint import directory
from pprs.training import TrainConfig
from pprs.training.ending import steps_of
from pprs.training.journal import Journal
from pprs.training.resume import abandoned, cut_back, kept_settings

pytestmark = [
    pytest.mark.dist,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="has other signals"),
]


@pytest.fixture(scope="module")
def terminated(tmp_path_factory):
    """A run that got SIGTERM in the middle, with what it said; and the same gone on with."""
    folder = workplace(tmp_path_factory.mktemp("terminated"))
    waiting = folder / "waiting"
    waiting.mkdir()
    process = warm.Started("pprs", "train", *NOISY, cwd=folder, env={"WAIT": waiting})
    try:
        # Until both ranks are in the middle of a step.
        wait(lambda: process.returncode is not None or len(list(waiting.iterdir())) == 2)
        assert process.returncode is None, process.communicate()
        os.kill(process.pid, signal.SIGTERM)
        out, said = process.communicate()
    finally:
        process.kill()
    run = folder / "runs" / "train"
    then = summary(run), metrics(run), (run / "weights.safetensors").exists()
    again = trained(folder, "--resume", "runs/train")
    return run, (process.returncode, out + said), then, again


def test_a_signal_saves_and_says_how_to_go_on(terminated):
    _, (code, said), (end, records, has_weights), _ = terminated
    assert code == 128 + signal.SIGTERM
    step = end["step"]
    assert 0 < step < NOISY_STEPS
    assert (
        f"pprs: interrupted by SIGTERM after step {step}, saved; go on with: "
        f"pprs train --resume runs/train" in said
    )
    assert "Traceback" not in said
    assert end["ended"] == "SIGTERM"
    assert len(records) == step
    assert not has_weights


def test_after_a_signal_the_run_ends_bit_for_bit_as_if_uninterrupted(terminated, uninterrupted):
    run, _, (end, _, _), again = terminated
    assert f"going on after step {end['step']} of {NOISY_STEPS}" in again
    told = f"It was interrupted, and went on after step {end['step']}."
    assert told in (run / "report.md").read_text()
    assert same_bytes(run, uninterrupted[0])
    assert without_time(run) == without_time(uninterrupted[0])
    assert summary(run)["ended"] == "epochs"


def test_after_a_kill_the_ranks_start_again_and_end_bit_for_bit(tmp_path, uninterrupted):
    arguments = [*NOISY, "--max-restarts", "1", "--save-every", "3"]
    said = trained(workplace(tmp_path), *arguments, KILL=str(tmp_path))
    run = tmp_path / "runs" / "train"
    assert (tmp_path / "killed").exists()
    assert re.search(r"going on after step [36] of 12", said)
    assert [path.name for path in run.parent.iterdir()] == ["train"]
    assert [record["step"] for record in metrics(run)] == list(range(1, NOISY_STEPS + 1))
    assert same_bytes(run, uninterrupted[0])
    assert without_time(run) == without_time(uninterrupted[0])


def test_other_settings_win_and_more_steps_are_taken(terminated, tmp_path):
    folder = tmp_path / "more"  # other tests need the run as it was
    shutil.copytree(terminated[0].parents[1], folder)
    run = folder / "runs" / "train"
    changed = ["--steps", "14", "--lr", "0.04", "--schedule", "zb-v", "--microbatches", "4"]
    with patch.object(directory, "verify", wraps=directory.verify) as verify:
        trained(folder, "--resume", "runs/train", *changed)
    assert verify.call_count == 1  # it reads all there is
    records = metrics(run)
    assert [record["step"] for record in records] == list(range(1, 15))
    # The course is that of 14 steps now, from the new step size.
    assert records[12]["lr"] == pytest.approx(0.04 * (1 + math.cos(math.pi * 10 / 12)) / 2)
    said = trained(folder, "--resume", "runs/train", "--steps", "3", code=2)
    assert "has done 14 steps already, and 3 were asked for" in said


@pytest.mark.parametrize("line", [b"", b"[1]\n\xff\xfe\0\n7\n{}\n", b'{"step": "x"}\n'])
def test_a_log_is_cut_back_to_a_step_without_lines_that_are_none(tmp_path, line):
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b'{"step": 1}\n' + line + b'{"step": 2}\n{"step": 3}\n{"ste')
    assert steps_of(tmp_path) == 3
    assert cut_back(file, 2) == [{"step": 1}, {"step": 2}]
    assert file.read_text() == '{"step": 1}\n{"step": 2}\n'
    assert cut_back(tmp_path / "none", 2) == []


def test_ranks_that_start_again_find_the_folder_that_they_have_written(tmp_path):
    config = TrainConfig(model="a:b", data="a:c", steps=3, out=tmp_path)
    for name, seed in (("train", 0), ("train-2", 0), ("train-3", 1), ("other", 0)):
        settings = kept_settings(replace(config, seed=seed)) | {"used": {"torch": "2", "batch": 32}}
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.toml").write_text(tomli_w.dumps(settings))
    (tmp_path / "train-4").mkdir()
    (tmp_path / "train-4" / "config.toml").write_bytes(b"mod\xff")  # of a full disk
    assert abandoned(config) == tmp_path / "train-2"


def test_the_settings_stay_where_the_disk_is_full_when_a_run_goes_on(tmp_path, monkeypatch):
    config, file = TrainConfig(model="a:b", data="a:c", steps=2), tmp_path / "config.toml"
    with Journal(config, tmp_path, 0, 2, {}):
        kept = file.read_text()
    write = Path.write_text

    def full(path, text, **how):
        write(path, text[:9] if "config" in path.name else text, **how)
        if "config" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(RuntimeError, match="No space left on device; make room there"):
        Journal(config, tmp_path, 1, 2, {})
    assert file.read_text() == kept


def test_room_is_not_asked_for_where_the_disk_may_not_be_written(tmp_path, monkeypatch):
    def locked(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "touch", locked)
    said = "Read-only file system; once it can be written, go on with: pprs train --resume"
    with pytest.raises(RuntimeError, match=said):
        Journal(TrainConfig(model="a:b", data="a:c", steps=2), tmp_path, 0, 2, {})
