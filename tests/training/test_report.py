"""The report at the end of a training, where it cannot be written."""

import pytest
import torch

import pprs.report
from pprs.training.config import TrainConfig
from pprs.training.journal import Journal


@pytest.mark.parametrize("how", ["a folder is there", "any mistake"])
def test_a_report_that_cannot_be_written_is_a_sentence_and_the_run_ends(
    tmp_path, capsys, monkeypatch, how
):
    def mistaken(folder):
        raise AssertionError

    if how == "any mistake":
        monkeypatch.setattr(pprs.report, "write", mistaken)
    else:
        (tmp_path / "report.html").mkdir()
    with Journal(TrainConfig("a:b", "a:b", steps=1), tmp_path, 0, 1, {}) as journal:
        journal.step({"step": 1, "epoch": 1, "loss": 1.0, "lr": 0.1, "seconds": 1.0})
        journal.finish({"ended": "steps", "step": 1}, {"weight": torch.zeros(1)})
    said = capsys.readouterr().out
    reason = "AssertionError" if how == "any mistake" else f"cannot write {tmp_path}/report.html"
    assert f"there is no report: {reason}" in said
    assert said.splitlines()[-1].endswith("config.toml, checkpoints")
    assert (tmp_path / "weights.safetensors").exists()
