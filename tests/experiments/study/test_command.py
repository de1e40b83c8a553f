"""`pprs-study` with a tiny study: real processes, and real signals."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from waiting import children, session, wait

from experiments.study import tiny_study
from experiments.study.small import SmallTask, small_cell
from pprs_experiments.study import command
from pprs_experiments.study.command import (
    ReportConfig,
    StudyConfig,
    StudyError,
    run_report,
    run_study,
)
from pprs_experiments.study.results import read_results
from pprs_experiments.study.tasks import FewShotTask

pytestmark = [pytest.mark.dist, pytest.mark.slow]
TESTS = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def plan(monkeypatch):
    monkeypatch.setattr(command, "plan", tiny_study.tiny)


def names(folder):
    return [(each.cell, each.method) for each in read_results(folder / "quick.jsonl")]


def test_a_study_writes_its_results_and_computes_nothing_twice(tmp_path, capsys):
    config = StudyConfig(quick=True, out=tmp_path, workers=2)
    run_study(config)
    assert names(tmp_path) == [
        (cell, method) for cell in ("small", "small/deep") for method in ("gd", "pprs")
    ]
    said = capsys.readouterr().out
    assert "4 jobs in 2 cells, 0 of them finished before" in said
    assert re.search(r"4 of 4, 0 s left: small(/deep)? \| time \| (gd|pprs), ", said)
    first = (tmp_path / "quick.jsonl").read_bytes()
    run_study(config)
    assert "4 jobs in 2 cells, 4 of them finished before" in capsys.readouterr().out
    assert (tmp_path / "quick.jsonl").read_bytes() == first  # wall times, too


def test_parts_of_a_study_are_chosen_by_words_and_questions_and_add_up(tmp_path):
    for only, cells in (("deep", {"small/deep"}), ("3", {"small", "small/deep"})):
        run_study(StudyConfig(quick=True, only=(only,), out=tmp_path, workers=1))
        assert {cell for cell, _ in names(tmp_path)} == cells


def test_what_names_no_cell_is_refused_and_the_cells_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"--only shallow names no cell .*; there are:\n  small\n"):
        run_study(StudyConfig(quick=True, only=("shallow",), out=tmp_path))


def test_cells_without_their_data_are_left_out_with_a_word(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "needs_data", lambda cell: cell.name == "small/deep")
    run_study(StudyConfig(quick=True, out=tmp_path, workers=1))
    assert {cell for cell, _ in names(tmp_path)} == {"small"}
    assert "1 cells are left out: their data sets lie in a folder" in capsys.readouterr().out
    monkeypatch.setattr(command, "needs_data", lambda cell: True)
    with pytest.raises(ValueError, match="no cell is left: name the folder of the data sets with"):
        run_study(StudyConfig(quick=True, out=tmp_path, workers=1))


def test_a_failed_job_is_told_and_the_others_have_results(tmp_path, monkeypatch):
    def broken(quick):
        cells, effort = tiny_study.tiny(quick)
        no_mean = small_cell(name="broken", task=SmallTask(mean=False), methods=("sgd",))
        return [*cells, no_mean], effort

    monkeypatch.setattr(command, "plan", broken)
    with pytest.raises(StudyError, match=r"1 jobs failed.*\n  broken \| time \| sgd .*not a mean"):
        run_study(StudyConfig(quick=True, out=tmp_path, workers=1))
    assert len(names(tmp_path)) == 4


def imports_torch(process):
    with suppress(ProcessLookupError, FileNotFoundError):  # it has ended
        return "libtorch" in Path(f"/proc/{process}/maps").read_text()
    return False


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_study_leaves_no_process_and_goes_on(tmp_path, sent, code):
    program = [sys.executable, "-m", "experiments.study.tiny_study", "run", "--out", str(tmp_path)]
    with subprocess.Popen(
        [*program, "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    ) as process:
        assert "4 jobs in 2 cells, 0 of them" in process.stdout.readline()
        if sent == signal.SIGINT:  # Ctrl-C reaches all processes of a terminal
            wait(lambda: any(map(imports_torch, children(process.pid))))
            os.killpg(process.pid, sent)
        else:
            process.send_signal(sent)
        said = process.communicate(timeout=600)[1]
        assert process.returncode == code
        assert said == "pprs: interrupted; what is finished is kept: call it again to go on\n"
        wait(lambda: not session(process.pid))


def test_a_missing_folder_of_data_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--data-dir must be a folder that holds data sets, got"):
        StudyConfig(data_dir=tmp_path / "none")


def test_no_workers_are_refused():
    with pytest.raises(ValueError, match="workers must be an integer of at least 1, got 0"):
        StudyConfig(workers=0)


def test_missing_data_is_told_before_any_work(tmp_path, monkeypatch, capsys):
    task = FewShotTask(data="fashion-mnist")
    few_shot = [small_cell(name="few-shot", task=task)], tiny_study.EFFORT
    monkeypatch.setattr(command, "plan", lambda quick: few_shot)
    with pytest.raises(ValueError, match=r"cannot read .*fashion-mnist"):
        run_study(StudyConfig(quick=True, out=tmp_path, data_dir=tmp_path, workers=1))


def test_a_report_of_nothing_says_what_to_do(tmp_path):
    file = tmp_path / "results.jsonl"
    with pytest.raises(ValueError, match="no results at .*: call `pprs-study run` first"):
        run_report(ReportConfig(file))
    file.touch()
    with pytest.raises(ValueError, match="holds no results: no job has finished yet"):
        run_report(ReportConfig(file))


def test_a_reason_that_many_jobs_share_is_told_once():
    told = command._reasons({"a": "no data", "b": "no data", "c": "other"})
    assert told == "  a and 1 others: no data\n  c: other"
